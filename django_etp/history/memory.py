"""Histories in the memory of one process.

Rules kept here:

- All event loops and threads of the process share them.
- Each call looks at two rooms that were not looked at for long, and removes what is too old of them. So no call takes
  long, and rooms that are not used any more go.
- Clients can name as many rooms as they like. If there are too many, those go that never had an event.
- A child of a fork begins without any, and so with other epochs than its parent.
"""

import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice

from .limits import History
from .store import (
    KEEP_SECONDS,
    REMEMBERED,
    Appended,
    Entry,
    NewEvent,
    Position,
    Recovery,
    new_epoch,
    recover,
    still_kept,
)

__all__ = ["MemoryHistory", "forget_all"]

_MANY_ROOMS = 100_000


class MemoryHistory:
    """Histories in memory, for a site of one process. They are lost when that ends."""

    is_shared = False

    async def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """See Store."""
        now = time.time()
        with _rooms.lock:
            return [_rooms.open(event.room, now).append(event, now) for event in events]

    async def now(self) -> float:
        """See Store."""
        return time.time()

    async def position(self, room: str) -> Position:
        """See Store."""
        with _rooms.lock:
            return _rooms.open(room, time.time()).position

    async def positions(self, rooms: Collection[str]) -> dict[str, Position]:
        """See Store."""
        with _rooms.lock:
            return {name: room.position for name in rooms if (room := _rooms.by_name.get(name))}

    async def read_after(self, room: str, since: Position | None, limits: History) -> Recovery:
        """See Store."""
        now = time.time()
        with _rooms.lock:
            found = _rooms.open(room, now)
            return recover(found.position, since, found.after(since), limits, now)

    async def read_before(self, room: str, before: Position | None, most: int, limits: History) -> list[Entry]:
        """See Store."""
        now = time.time()
        with _rooms.lock:
            found = _rooms.by_name.get(room)
            if found is None or (before is not None and before.epoch != found.position.epoch):
                return []
            entries = still_kept(found.position, list(found.entries), limits, now)
        return [entry for entry in entries if before is None or entry.position.number < before.number][-most:]

    def follow(self, take: Callable[[str, Entry], None], missed: Callable[[], None]) -> None:
        """See Store."""

    async def close(self) -> None:
        """See Store."""


class _Room:
    """The history of one room."""

    __slots__ = ("_seconds", "_sent", "entries", "position", "used_at")

    def __init__(self, now: float) -> None:
        self.position = Position(new_epoch(), 0)
        self.entries: deque[Entry] = deque()
        self.used_at = now
        self._seconds = 0.0
        # The names of durable events, with their numbers, in order.
        self._sent: dict[str, int] = {}

    def append(self, event: NewEvent, now: float) -> Appended:
        number = self._sent.get(event.emission, 0)
        if number:
            return Appended(Position(self.position.epoch, number), is_first=False)
        self.position = Position(self.position.epoch, self.position.number + 1)
        self.used_at, self._seconds = now, event.limits.seconds
        self.entries.append(Entry(self.position, now, event.text, event.exclude))
        while len(self.entries) > event.limits.size:
            self.entries.popleft()
        self._forget_sent()
        if event.emission:
            self._sent[event.emission] = self.position.number
        return Appended(self.position, is_first=True)

    def after(self, since: Position | None) -> list[Entry]:
        missed = 0 if since is None else self.position.number - since.number
        return list(islice(self.entries, max(0, len(self.entries) - missed), None)) if missed > 0 else []

    def is_forgotten(self, now: float) -> bool:
        """Remove events that are too old; return whether there is nothing left to remember."""
        while self.entries and self.entries[0].at < now - self._seconds:
            self.entries.popleft()
        return now - self.used_at > KEEP_SECONDS + self._seconds

    def _forget_sent(self) -> None:
        while self._sent and self._sent[first := next(iter(self._sent))] <= self.position.number - REMEMBERED:
            del self._sent[first]


class _Rooms:
    """The histories of all rooms, those first that were looked at first. The caller holds the lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_name: OrderedDict[str, _Room] = OrderedDict()

    def open(self, name: str, now: float) -> _Room:
        """Return the history of a room, which may begin now."""
        self._look_at_two(now)
        room = self.by_name.get(name)
        if room is None:
            room = self.by_name[name] = _Room(now)
        return room

    def _look_at_two(self, now: float) -> None:
        are_many = len(self.by_name) > _MANY_ROOMS
        for name in list(islice(self.by_name, 2)):
            room = self.by_name[name]
            if room.is_forgotten(now) or (are_many and not room.position.number):
                del self.by_name[name]
            else:
                self.by_name.move_to_end(name)


_rooms = _Rooms()


def forget_all() -> None:
    """Forget all histories."""
    global _rooms
    _rooms = _Rooms()  # in the child of a fork, a thread that it lacks may hold the lock of the old one


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_all)
