"""Histories in tables of a Django database, shared by all processes of a site.

Rules kept here:

- A transaction that appends to a room has the lock of the room's row until it has committed. So numbers become visible
  in their order. Rooms are locked in the order of their names.
- All events of a call are appended in one transaction, as far as they are not too many.
- Events are appended in transactions of their own. A caller's rollback does not undo them.
- Events that are too many or too old are removed by those who append.
- All processes that use a file of SQLite have one clock, and a room's events have ascending times there. The processes
  of other databases may run on several machines.
"""

import asyncio
import json
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db import Error as DatabaseError
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest

from django_etp.concurrency.workers import run_own
from django_etp.exceptions import HistoryUnavailable, describe

from .limits import History
from .models import HistoryDurableEvent, HistoryEvent, HistoryRoom
from .pruning import Pruning, prune_room
from .store import KEEP_SECONDS, SLACK, Appended, Entry, NewEvent, Position, Recovery, new_epoch, recover, still_kept

__all__ = ["DatabaseHistory"]

# How long a transaction may take, in seconds. One that is given up may still commit.
_LIMIT = 7.0
# How far the clocks of two machines may be apart, in seconds.
_CLOCKS_DIFFER = 5.0
# Events are appended so many at a time, and rooms are looked up so many at a time.
_AT_ONCE = 500
# A room's old events are removed each time so many were appended.
_PRUNE_EVERY = SLACK // 2

_T = TypeVar("_T")


class DatabaseHistory:
    """Histories in the tables of the app ``django_etp.history``.

    Args:
        using: the alias of the database.
    """

    is_shared = True

    def __init__(self, *, using: str = DEFAULT_DB_ALIAS) -> None:
        self._using = using
        self._pruning = Pruning(using)

    async def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """See Store."""
        appended: list[Appended] = []
        for start in range(0, len(events), _AT_ONCE):
            appended += await self._run(self._append, events[start : start + _AT_ONCE])
        return appended

    async def now(self) -> float:
        """See Store. Events have the times of the processes that append them."""
        return _now() / 1000 - (0.0 if self._has_one_clock else _CLOCKS_DIFFER)

    async def position(self, room: str) -> Position:
        """See Store."""
        return _position(await self._run(self._open, room))

    async def positions(self, rooms: Collection[str]) -> dict[str, Position]:
        """See Store."""
        return await self._run(self._positions, list(rooms))

    async def read_after(self, room: str, since: Position | None, limits: History) -> Recovery:
        """See Store."""
        return await self._run(self._read_after, room, since, limits)

    async def read_before(self, room: str, before: Position | None, most: int, limits: History) -> list[Entry]:
        """See Store."""
        return await self._run(self._read_before, room, before, most, limits)

    def follow(self, take: Callable[[str, Entry], None], missed: Callable[[], None]) -> None:
        """See Store."""

    async def close(self) -> None:
        """See Store."""

    @property
    def _has_one_clock(self) -> bool:
        return connections[self._using].vendor == "sqlite"

    async def _run(self, function: Callable[..., _T], *args: Any) -> _T:
        try:
            async with asyncio.timeout(_LIMIT):
                result: _T = await run_own(function, *args)
                return result
        except (DatabaseError, TimeoutError) as error:
            raise HistoryUnavailable(
                f"The history in the database {self._using!r} could not be used: {describe(error)}. Its tables are "
                "those of the app 'django_etp.history'."
            ) from error

    # In a thread

    def _append(self, events: Sequence[NewEvent]) -> list[Appended]:
        now = _now()
        by_room: dict[str, list[int]] = {}
        for index, event in enumerate(events):
            by_room.setdefault(event.room, []).append(index)
        appended: dict[int, Appended] = {}
        with transaction.atomic(using=self._using):
            for name in sorted(by_room):
                of_room = [events[index] for index in by_room[name]]
                appended.update(zip(by_room[name], self._append_to(name, of_room, now), strict=True))
        self._pruning.prune(now)
        return [appended[index] for index in range(len(events))]

    def _append_to(self, name: str, events: Sequence[NewEvent], now: int) -> list[Appended]:
        """Append events to one room, whose row is locked until the transaction commits."""
        limits = events[-1].limits
        lifetime = round(limits.seconds * 1000)
        at = Greatest(F("at"), now) if self._has_one_clock else now
        advanced = {"number": F("number") + len(events), "at": at, "lifetime": lifetime}
        if not self._rooms(name).update(**advanced):
            self._open(name)
            self._rooms(name).update(**advanced)
        room = self._rooms(name).get()
        number = before = room.number - len(events)
        numbers = self._durable(room, events)
        rows, appended = [], []
        for event in events:
            known = numbers.get(event.emission) if event.emission else None
            if known is None:
                number += 1
                rows.append(_row(room, number, event))
                if event.emission:
                    numbers[event.emission] = number
            appended.append(Appended(Position(room.epoch, known or number), known is None))
        if number < room.number or room.prune_at > now + lifetime:
            self._rooms(name).update(number=number, prune_at=now + lifetime)
        HistoryEvent.objects.using(self._using).bulk_create(rows)
        HistoryDurableEvent.objects.using(self._using).bulk_create(
            HistoryDurableEvent(room=room, number=each, emission=emission)
            for emission, each in numbers.items()
            if each > before
        )
        if number // _PRUNE_EVERY > before // _PRUNE_EVERY:
            prune_room(self._using, room, number - limits.size, now - lifetime)
        return appended

    def _durable(self, room: HistoryRoom, events: Iterable[NewEvent]) -> dict[str, int]:
        """Return the numbers of those durable events that were appended before, by their names."""
        if not (names := {event.emission for event in events if event.emission}):
            return {}
        rows = HistoryDurableEvent.objects.using(self._using).filter(room=room, emission__in=names)
        return dict(rows.values_list("emission", "number"))

    def _open(self, name: str) -> HistoryRoom:
        now = _now()
        begun = {"epoch": new_epoch(), "at": now, "prune_at": now + KEEP_SECONDS * 1000}
        return HistoryRoom.objects.using(self._using).get_or_create(name=name, defaults=begun)[0]

    def _positions(self, names: list[str]) -> dict[str, Position]:
        positions: dict[str, Position] = {}
        for start in range(0, len(names), _AT_ONCE):
            rooms = HistoryRoom.objects.using(self._using).filter(name__in=names[start : start + _AT_ONCE])
            positions.update((room.name, _position(room)) for room in rooms)
        return positions

    def _read_after(self, name: str, since: Position | None, limits: History) -> Recovery:
        room = self._open(name)
        entries: list[Entry] = []
        if since is not None and since.epoch == room.epoch and 0 < room.number - since.number <= limits.size + SLACK:
            rows = HistoryEvent.objects.using(self._using).filter(room=room, number__gt=since.number)
            entries = _entries(room, rows.filter(number__lte=room.number).order_by("number"))
        return recover(_position(room), since, entries, limits, time.time())

    def _read_before(self, name: str, before: Position | None, most: int, limits: History) -> list[Entry]:
        room = self._rooms(name).first()
        if room is None or (before is not None and before.epoch != room.epoch):
            return []
        end = room.number + 1 if before is None else before.number
        rows = HistoryEvent.objects.using(self._using).filter(room=room, number__lt=end).order_by("-number")[:most]
        return still_kept(_position(room), _entries(room, rows)[::-1], limits, time.time())

    def _rooms(self, name: str) -> QuerySet[HistoryRoom]:
        return HistoryRoom.objects.using(self._using).filter(name=name)


def _now() -> int:
    return int(time.time() * 1000)  # never later than it is


def _row(room: HistoryRoom, number: int, event: NewEvent) -> HistoryEvent:
    exclude = json.dumps(sorted(event.exclude))
    return HistoryEvent(room=room, number=number, at=room.at, text=event.text.encode(), exclude=exclude)


def _position(room: HistoryRoom) -> Position:
    return Position(room.epoch, room.number)


def _entries(room: HistoryRoom, rows: Iterable[HistoryEvent]) -> list[Entry]:
    return [
        Entry(
            Position(room.epoch, row.number),
            row.at / 1000,
            bytes(row.text).decode(),
            frozenset(json.loads(row.exclude)),
        )
        for row in rows
    ]
