"""Messages between processes about rooms with presence, as text in reserved rooms.

Rules kept here:

- No message is trusted: a malformed one raises ``Malformed``, and does no harm.
- A room is named by a hash, its id. Each room with presence has a reserved room for its deltas. A digest and a farewell
  go to one that all processes are in.
- A delta or a farewell holds at most ``MOST_AT_ONCE`` entries, a digest as many rooms.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from django_etp.cluster.messages import Malformed
from django_etp.hub.names import RESERVED_PREFIX

from .entries import Entry

__all__ = [
    "EVERYBODY",
    "MOST_AT_ONCE",
    "Delta",
    "Digest",
    "Farewell",
    "Message",
    "farewells",
    "read",
    "reserved_room",
    "room_id",
]

MOST_AT_ONCE = 250

# The reserved room that all processes with presence are in.
EVERYBODY = f"{RESERVED_PREFIX}presence"


@lru_cache(maxsize=4096)
def room_id(namespace: str, room: str) -> str:
    """Return the id of a room."""
    return blake2b(f"{len(namespace)}:{namespace}:{room}".encode(), digest_size=8).hexdigest()


def reserved_room(id: str) -> str:
    """Return the reserved room in which processes announce the changes of a room."""
    return f"{EVERYBODY}.{id}"


@dataclass(frozen=True, slots=True)
class Delta:
    """Changes of one process's share of a room.

    Attributes:
        hub: the process's hub.
        start: the version before the changes; 0 if there was nothing, so that the share is what the delta holds.
        end: the version after them.
        entries: those that are new or have changed.
        removed: the keys of those that are gone.
    """

    hub: str
    start: int
    end: int
    entries: tuple[Entry, ...] = ()
    removed: tuple[str, ...] = ()

    def encode(self) -> str:
        """Return the message as text."""
        rows = [entry.to_plain() for entry in self.entries]
        return json.dumps(["delta", self.hub, self.start, self.end, rows, self.removed])


@dataclass(frozen=True, slots=True)
class Digest:
    """The versions of one process's shares, of all its rooms whose ids are in a range.

    Attributes:
        hub: the process's hub.
        counter: the last version that the process gave to any share.
        low: the lowest id of the range.
        high: the id that follows the range; ``""`` if it has no end.
        versions: the versions that the shares had when the process sent its last digest; 0 for newer shares.
    """

    hub: str
    counter: int
    low: str = ""
    high: str = ""
    versions: dict[str, int] = field(default_factory=dict)

    def covers(self, id: str) -> bool:
        """Return whether a room is in the range."""
        return self.low <= id and (not self.high or id < self.high)

    def encode(self) -> str:
        """Return the message as text."""
        return json.dumps(["digest", self.hub, self.counter, self.low, self.high, self.versions])


@dataclass(frozen=True, slots=True)
class Farewell:
    """The entries of a process that ends, by rooms: they stay for the grace."""

    hub: str
    rooms: dict[str, tuple[Entry, ...]]

    def encode(self) -> str:
        """Return the message as text."""
        rooms = {id: [entry.to_plain() for entry in entries] for id, entries in self.rooms.items()}
        return json.dumps(["farewell", self.hub, rooms])


Message = Delta | Digest | Farewell


def read(text: str) -> Message:
    """Return the message in a text.

    Raises:
        Malformed: it holds none.
    """
    values: Any
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"a message about presence must be JSON: {error}") from None
    match values:
        case ["delta", str(hub), int(start), int(end), [*rows], [*removed]] if 0 <= start < end:
            if all(isinstance(key, str) for key in removed):
                return Delta(hub, start, end, tuple(map(Entry.from_plain, rows)), tuple(map(str, removed)))
        case ["digest", str(hub), int(counter), str(low), str(high), dict(versions)]:
            if all(isinstance(version, int) for version in versions.values()):
                return Digest(hub, counter, low, high, versions)
        case ["farewell", str(hub), dict(rooms)] if all(isinstance(rows, list) for rows in rooms.values()):
            return Farewell(hub, {id: tuple(map(Entry.from_plain, rows)) for id, rows in rooms.items()})
    raise Malformed(f"a message about presence must be a delta, a digest or a farewell, got {text[:80]!r}")


def farewells(hub: str, rooms: Iterable[tuple[str, Iterable[Entry]]]) -> Iterator[Farewell]:
    """Yield the farewells of a process that has these entries, by rooms."""
    part: dict[str, list[Entry]] = {}
    size = 0
    for id, entries in rooms:
        for entry in entries:
            part.setdefault(id, []).append(entry)
            size += 1
            if size == MOST_AT_ONCE:
                yield _farewell(hub, part)
                part, size = {}, 0
    if part:
        yield _farewell(hub, part)


def _farewell(hub: str, part: dict[str, Any]) -> Farewell:
    return Farewell(hub, {id: tuple(entries) for id, entries in part.items()})
