"""Append the events of one process to a store of histories, in the order of the calls.

Rules kept here:

- One call to the store is under way at a time. Events that come meanwhile gather, and share the next call.
- The events that wait are bounded.
- If the store fails, all events of the call fail, and none of them is tried again: some may be there.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Any

from django_etp.exceptions import HistoryUnavailable

from .store import Appended, NewEvent, Store

__all__ = ["Appender"]

_MOST_WAITING = 10_000
_MOST_BYTES = 16 * 1024 * 1024
_AT_ONCE = 500


class Appender:
    """The events of one process on their way to a store, on one event loop.

    Args:
        store: the store.
        run: runs a coroutine whatever becomes of its caller.
    """

    def __init__(self, store: Store, run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]) -> None:
        self._store = store
        self._run = run
        self._waiting: deque[tuple[NewEvent, asyncio.Future[Appended]]] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None

    def append(self, event: NewEvent) -> asyncio.Future[Appended]:
        """Append an event; the future has its position, or ``HistoryUnavailable``.

        Raises:
            HistoryUnavailable: too many events wait already.
        """
        if len(self._waiting) >= _MOST_WAITING or (self._bytes and self._bytes + len(event.text) > _MOST_BYTES):
            raise HistoryUnavailable(
                f"Too many events wait for the history ({len(self._waiting):,}): it is down, or slower than this "
                "process sends."
            )
        future: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._waiting.append((event, future))
        self._bytes += len(event.text)
        if self._task is None:
            self._task = self._run(self._empty())
        return future

    async def settle(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until all events are appended."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)

    async def _empty(self) -> None:
        try:
            while self._waiting:
                batch = list(islice(self._waiting, _AT_ONCE))
                try:
                    appended = await self._store.append([event for event, _ in batch])
                except Exception as error:
                    self._take(len(batch))
                    for _, future in batch:
                        if not future.done():
                            future.set_exception(_copied(error))
                else:
                    self._take(len(batch))
                    for (_, future), each in zip(batch, appended, strict=True):
                        if not future.done():
                            future.set_result(each)
        finally:
            self._task = None

    def _take(self, count: int) -> None:
        for _ in range(count):
            event, _ = self._waiting.popleft()
            self._bytes -= len(event.text)


def _copied(error: Exception) -> Exception:
    """Return a copy of an error for one waiter: each raise of a shared one would add to its traceback."""
    copy = HistoryUnavailable(*error.args) if isinstance(error, HistoryUnavailable) else HistoryUnavailable(repr(error))
    copy.__cause__ = error.__cause__ or error
    return copy
