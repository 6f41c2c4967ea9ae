"""Read for the members who return to one room what each has missed: all that wait share a read.

Rules kept here:

- One read of a room is under way at a time. Members who come meanwhile share the next one.
- A read begins at the earliest of their positions. If the store does not have all events after that, one more read of
  all that it has serves the others.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from django_etp.history.limits import History
from django_etp.history.store import SLACK, Position, Recovery, Store, recover

__all__ = ["Recoveries"]


class Recoveries:
    """The reads of one room.

    Args:
        room: the name of the room's group.
        limits: how much the room keeps.
        store: returns the store.
        run: runs a coroutine whatever becomes of its caller.
    """

    def __init__(
        self,
        room: str,
        limits: History,
        store: Callable[[], Store],
        run: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._room = room
        self._limits = limits
        self._store = store
        self._run = run
        self._waiting: list[tuple[Position, asyncio.Future[Recovery]]] = []
        self._is_reading = False

    async def read(self, since: Position) -> Recovery:
        """Return what a member at a position has missed.

        Raises:
            HistoryUnavailable: the store cannot be reached.
        """
        future: asyncio.Future[Recovery] = asyncio.get_running_loop().create_future()
        self._waiting.append((since, future))
        if not self._is_reading:
            self._is_reading = True
            self._run(self._read_all())
        return await future

    async def _read_all(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                try:
                    await self._read_for(waiting)
                except Exception as error:
                    for _, future in waiting:
                        if not future.done():
                            future.set_exception(error)
        finally:
            self._is_reading = False

    async def _read_for(self, waiting: list[tuple[Position, asyncio.Future[Recovery]]]) -> None:
        store, limits = self._store(), self._limits
        position, entries = await store.read_after(self._room, min(since for since, _ in waiting), limits)
        if entries is None:
            entries = await store.read_before(self._room, None, limits.size + SLACK, limits)
            position = entries[-1].position if entries else position
        for since, future in waiting:
            if not future.done():
                missed = [entry for entry in entries if entry.position.number > since.number]
                future.set_result(recover(position, since, missed, limits, 0.0))
