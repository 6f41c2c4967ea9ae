"""The entry of a user in a room, as one process has it, and the entry that all processes together show.

Rules kept here:

- The entries of all processes are merged by sums, minima and maxima. So all processes show the same once they have them
  all, in whichever order these arrived.
- A connection that has ended counts for the time of the grace, in the form of a floor: the number of connections just
  before it ended. A connection that returns in any process fills the place below the floor, so that nothing flickers.
- The information of the latest join is shown.

No clock and no layer.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django_etp.cluster.messages import Malformed

__all__ = ["Entry", "Shown", "merge"]


@dataclass(frozen=True, slots=True)
class Entry:
    """The entry of a user, as one process has it.

    Attributes:
        key: names the user, or the connection of an anonymous one.
        info: the information for others, as the text of a JSON object.
        informed_at: when ``info`` was made, in seconds since 1970.
        since: since when the user is in the room, in seconds since 1970.
        connections: how many connections are in the room now.
        floor: at least so many connections are shown, since some have ended within the grace.
    """

    key: str
    info: str
    informed_at: float
    since: float
    connections: int
    floor: int = 0

    @property
    def is_trace(self) -> bool:
        """Whether it shows only that the user was here until ``informed_at``."""
        return not (self.connections or self.floor)

    def to_plain(self) -> list[Any]:
        """Return the values that are sent."""
        return [self.key, self.info, self.informed_at, self.since, self.connections, self.floor]

    @classmethod
    def from_plain(cls, values: object) -> "Entry":
        """Return the entry that to_plain() made values of.

        Raises:
            Malformed: they are no such values.
        """
        match values:
            case [
                str(key),
                str(info),
                (int() | float()) as informed_at,
                (int() | float()) as since,
                int(connections),
                int(floor),
            ] if connections >= 0 and floor >= 0 and math.isfinite(informed_at) and math.isfinite(since):
                try:
                    info.encode()
                    if isinstance(json.loads(info), dict):
                        return cls(key, info, informed_at, since, connections, floor)
                except (ValueError, RecursionError):
                    pass
        raise Malformed(f"an entry of a room with presence must be a list of six that fit, got {str(values)[:80]!r}")


class Shown:
    """One user in a room, as all processes together show it. Do not change it."""

    __slots__ = ("_text", "connections", "info", "key", "since")

    def __init__(self, key: str, info: str, since: float, connections: int) -> None:
        self.key = key
        self.info = info
        self.since = since
        self.connections = connections
        self._text = ""

    def __repr__(self) -> str:
        return f"<Shown {self.text}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shown) and self.text == other.text

    __hash__ = None  # type: ignore[assignment]

    @property
    def text(self) -> str:
        """The entry as JSON, made once for all members."""
        if not self._text:
            key = json.dumps(self.key)
            self._text = f'{{"key":{key},"info":{self.info},"since":{self.since!r},"connections":{self.connections}}}'
        return self._text


def merge(entries: Iterable[Entry]) -> Shown | None:
    """Return the entry that several processes show together for one key; ``None`` if no connection is left."""
    connections = floor = 0
    latest: Entry | None = None
    since = math.inf
    for entry in entries:
        if entry.is_trace:
            continue
        connections += entry.connections
        floor = max(floor, entry.floor)
        since = min(since, entry.since)
        if latest is None or (entry.informed_at, entry.info) > (latest.informed_at, latest.info):
            latest = entry
    if latest is None:
        return None
    return Shown(latest.key, latest.info, since, max(connections, floor))
