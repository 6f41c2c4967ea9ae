"""Which groups of the channel layer a hub hears, and how it gets there: joins and leaves, a few at a time.

Rules kept here:

- Only what is wanted in the end counts: a group joined and left again at once costs at most one call each.
- Few calls are under way at once, so that a storm of joins does not exhaust the broker's connections.
- A call that failed is tried again until it succeeds, or is no longer wanted.
- A group can be joined again, on the same channel, to heal a broker that has forgotten it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Subscriptions"]

logger = logging.getLogger(__name__)

_AT_ONCE = 8
_CALL_LIMIT = 3.0
# How long a join waits for the layer before it goes on without; healing completes it.
_JOIN_LIMIT = 2.0
_FIRST_RETRY = 0.1
_LAST_RETRY = 2.0

_Call = Callable[[str], Coroutine[Any, Any, None]]


class Subscriptions:
    """The groups that one channel hears.

    Args:
        add: joins a group at the layer.
        discard: leaves one.
        joined: is told of each group, each time the layer has confirmed a join.
    """

    def __init__(self, add: _Call, discard: _Call, joined: Callable[[str], None]) -> None:
        self._add = add
        self._discard = discard
        self._joined = joined
        self._wanted: set[str] = set()
        self._confirmed: set[str] = set()
        self._to_do: dict[str, None] = {}
        self._under_way: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._retry_after = _FIRST_RETRY
        self.is_failing = False

    @property
    def wanted(self) -> frozenset[str]:
        """The groups that should be heard."""
        return frozenset(self._wanted)

    async def join(self, group: str) -> None:
        """Hear a group; waits until the layer confirms, or 2 s: a layer that is down is joined when it is back."""
        self._wanted.add(group)
        if group in self._confirmed and group not in self._to_do and group not in self._under_way:
            return
        self._do(group)
        if self.is_failing:
            return
        future = self._waiting.get(group)
        if future is None:
            future = self._waiting[group] = asyncio.get_running_loop().create_future()
        await asyncio.wait([future], timeout=_JOIN_LIMIT)

    def leave(self, group: str) -> None:
        """Hear a group no more; does not wait."""
        self._wanted.discard(group)
        if group in self._confirmed or group in self._under_way:
            self._do(group)
        else:
            self._to_do.pop(group, None)
            self._release(group)

    def join_again(self) -> None:
        """Join all groups again: the broker may have forgotten them."""
        for group in self._wanted:
            self._do(group)

    async def settle(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until nothing is left to do."""
        if self._workers:
            await asyncio.wait(self._workers, timeout=timeout)

    def stop(self) -> None:
        """Do nothing more."""
        self._to_do.clear()
        for worker in self._workers:
            worker.cancel()

    def _do(self, group: str) -> None:
        self._to_do[group] = None
        if len(self._workers) < _AT_ONCE:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        while group := next((group for group in self._to_do if group not in self._under_way), None):
            del self._to_do[group]
            self._under_way.add(group)
            try:
                await self._call(group)
            finally:
                self._under_way.discard(group)

    async def _call(self, group: str) -> None:
        is_wanted = group in self._wanted
        try:
            async with asyncio.timeout(_CALL_LIMIT):
                await (self._add(group) if is_wanted else self._discard(group))
        except Exception as error:
            await self._failed(group, error)
            return
        if self.is_failing:
            logger.info("The channel layer takes joins and leaves again.")
        self.is_failing, self._retry_after = False, _FIRST_RETRY
        if is_wanted:
            self._confirmed.add(group)
            self._joined(group)
            self._release(group)
        else:
            self._confirmed.discard(group)

    async def _failed(self, group: str, error: Exception) -> None:
        if not self.is_failing:
            logger.warning("The channel layer refused a join or leave, which is tried again until it works: %r", error)
        self.is_failing = True
        self._to_do[group] = None
        for waiting in tuple(self._waiting):
            self._release(waiting)
        await asyncio.sleep(self._retry_after)
        self._retry_after = min(self._retry_after * 2, _LAST_RETRY)

    def _release(self, group: str) -> None:
        if (future := self._waiting.pop(group, None)) and not future.done():
            future.set_result(None)
