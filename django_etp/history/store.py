"""The interface of a store of histories, and the rules that all of them share.

Rules kept here:

- The events of a room are numbered from 1, without a gap. An event is visible once all events before it are.
- A room has an epoch, a random name. A store that has forgotten the last number of a room begins with another epoch, so
  no position ever stands for two events.
- A room gets its epoch when its position is read first, so a position is valid even if it was read before any event.
- A reader has missed nothing more if the store has every event after its position; there is no partial recovery.
- A room that is not used for a day after its last event is too old is forgotten.
"""

import re
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .limits import History

__all__ = [
    "KEEP_SECONDS",
    "REMEMBERED",
    "SLACK",
    "Appended",
    "Entry",
    "Follower",
    "NewEvent",
    "Position",
    "Recovery",
    "Store",
    "new_epoch",
    "recover",
    "still_kept",
]

# A store may remove old events some at a time: so many more than the size of a history may be there, and count.
SLACK = 100
# How long a store remembers the position of a room that has no events any more, in seconds.
KEEP_SECONDS = 86_400
# A durable event that is appended again is recognized until so many later events have come.
REMEMBERED = 4096

_TEXT = re.compile(r"([0-9a-f]{8})\.(0|[1-9][0-9]{0,14})")


class Position(NamedTuple):
    """A place in the history of a room: after the event of this number, or before the first one if that is 0."""

    epoch: str
    number: int

    def __str__(self) -> str:
        return f"{self.epoch}.{self.number}"

    @classmethod
    def parse(cls, text: object) -> "Position | None":
        """Return the position that a text stands for; ``None`` if it stands for none."""
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        return None if found is None else cls(found[1], int(found[2]))


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to be appended.

    Attributes:
        room: the name of the room's group, which no other room of the site has.
        text: its frame, as it goes to members.
        limits: how much the room keeps.
        exclude: ids of connections that do not get it.
        emission: a name that no other event has, if it may be appended more than once.
        trace: the trace that it was sent in, as text, if there is one.
    """

    room: str
    text: str
    limits: History
    exclude: frozenset[str] = frozenset()
    emission: str = ""
    trace: str = ""


class Appended(NamedTuple):
    """An event that was appended: its position, and whether this was the first time."""

    position: Position
    is_first: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """An event in the history of a room.

    Attributes:
        position: its position.
        at: when it was appended, in seconds since 1970.
        text, exclude, trace: see NewEvent. A store need not keep the trace, unless it publishes what it appends.
    """

    position: Position
    at: float
    text: str
    exclude: frozenset[str] = frozenset()
    trace: str = ""


class Recovery(NamedTuple):
    """The events that a reader has missed.

    Attributes:
        position: the position of the last event.
        missed: the events after the reader's position, in order; ``None`` if the store does not have all of them.
    """

    position: Position
    missed: list[Entry] | None


class Follower(Protocol):
    """The rooms that a process follows in a store that publishes what it appends."""

    async def add(self, room: str) -> None:
        """Follow a room. Return once every event that is appended from now on will come, or after some seconds."""

    def discard(self, room: str) -> None:
        """Follow a room no longer."""

    async def close(self) -> None:
        """Follow no room any more; within a bounded time."""


class Store(Protocol):
    """A store of histories, which belongs to one event loop.

    All methods but close() raise ``HistoryUnavailable`` if the store cannot be reached.

    Attributes:
        is_shared: whether it has the events of all processes.
    """

    is_shared: bool

    async def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """Append events, in order, and return their positions. A durable event that is there already stays in place."""

    async def now(self) -> float:
        """Return the time, in seconds since 1970. Every event that is appended later is at that time or after it."""

    async def position(self, room: str) -> Position:
        """Return the position of the last event of a room."""

    async def positions(self, rooms: Collection[str]) -> dict[str, Position]:
        """Return the positions of the last events of rooms, but of those that the store does not know."""

    async def read_after(self, room: str, since: Position | None, limits: History) -> Recovery:
        """Return what a reader at a position has missed; ``None`` is no position of the room."""

    async def read_before(self, room: str, before: Position | None, most: int, limits: History) -> list[Entry]:
        """Return up to ``most`` events before a position, in order; by default, the last ones."""

    def follow(self, take: Callable[[str, Entry], None], missed: Callable[[], None]) -> Follower | None:
        """Return the rooms that this process follows, none yet; ``None`` if the store does not publish what it appends.

        Args:
            take: is called with the room and the event when one was appended, in order.
            missed: is called when events may have been missed: the connection was lost, and is back.
        """

    async def close(self) -> None:
        """Close all connections, within a bounded time. The store opens new ones if it is used again."""


def new_epoch() -> str:
    """Return the name of an epoch."""
    return secrets.token_hex(4)


def recover(
    position: Position, since: Position | None, entries: Sequence[Entry], limits: History, now: float
) -> Recovery:
    """Return what a reader at the position ``since`` has missed.

    Args:
        position: the position of the last event.
        entries: the events after ``since`` that the store has, in order.
        now: the time, in seconds since 1970, by the clock that the entries' times are from.
    """
    missed = 0 if since is None else position.number - since.number
    if (
        since is None
        or since.epoch != position.epoch
        or not 0 <= missed <= limits.size + SLACK
        or [entry.position.number for entry in entries] != list(range(since.number + 1, position.number + 1))
        or (entries and entries[0].at < now - limits.seconds)
    ):
        return Recovery(position, None)
    return Recovery(position, list(entries))


def still_kept(position: Position, entries: Sequence[Entry], limits: History, now: float) -> list[Entry]:
    """Return those of the entries of a room that its limits let it keep. See recover()."""
    first = position.number - limits.size - SLACK
    return [entry for entry in entries if entry.position.number > first and entry.at >= now - limits.seconds]
