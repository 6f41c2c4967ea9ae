"""A past event of a room with history, on the wire and as the API returns it.

Rules kept here:

- A member asks with ``__history``, whose data is ``{"room": name}``, maybe with ``"limit"`` and ``"before"``.
- The answer is ``{"events": [...]}``, the oldest first; ``"at"`` is in seconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .frames import Event

__all__ = ["HISTORY", "PastEvent"]

HISTORY = "__history"


@dataclass(frozen=True, slots=True)
class PastEvent:
    """An event in the history of a room.

    Attributes:
        position: its position, for ``before`` or ``since``.
        event: its name.
        data: its data, as it goes over the wire; ``""`` if it has none.
        at: when it was sent.
    """

    position: str
    event: str
    data: str
    at: datetime

    def json(self) -> Any:
        """Return the data as JSON carries it. See Event.json()."""
        return Event(self.event, 0, self.data).json()

    def to_plain(self) -> dict[str, Any]:
        """Return it as it is in an answer."""
        return {"position": self.position, "event": self.event, "data": self.data, "at": self.at.timestamp()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "PastEvent":
        """Return the event that to_plain() was called on."""
        at = datetime.fromtimestamp(plain["at"], UTC)
        return cls(str(plain["position"]), str(plain["event"]), str(plain["data"]), at)
