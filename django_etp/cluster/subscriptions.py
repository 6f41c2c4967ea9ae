"""Join and leave channel-layer groups, a few at a time.

Rules kept here:

- Only the last wish counts: a group joined and left again at once costs at most one call each.
- Few calls are under way at once, so that a storm of joins does not exhaust the broker's connections.
- To join all groups again, which may be thousands, goes on behind the joins and leaves that callers wait for.
- A call that failed is tried again until it succeeds, or is no longer wanted; one that may have been half done is
  undone.
- A group can be joined again, on the same channel, to heal a broker that has forgotten it.
- A join is confirmed once the broker has executed it. Some layers return before that: then the joins that have returned
  are proven together, a batch at a time.
- Once a join has waited for its 1.5 s in vain, no other waits until a join is confirmed, or on a layer that confirms
  itself, a leave.
- Nothing is kept of a group that was left.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine
from itertools import islice
from typing import Any

__all__ = ["Subscriptions"]

logger = logging.getLogger(__name__)

_AT_ONCE = 8
# In a storm of handshakes a response may be here for seconds before its task runs. Callers of join() wait for less, see
# below.
_CALL_LIMIT = 8.0
# How long a join waits for the layer before it goes on without; healing completes it. It is less than queries wait for
# replies by default, so that another process that lets a connection of this one join learns that it did.
_JOIN_LIMIT = 1.5
_FIRST_RETRY = 0.1
_LAST_RETRY = 2.0
# How many joins are proven together.
_MOST_PROVEN = 100

_Call = Callable[[str], Coroutine[Any, Any, None]]


class Subscriptions:
    """The groups of one channel.

    Args:
        add: joins a group at the layer.
        discard: leaves one.
        joined: is called with a wanted group each time the layer has confirmed a join.
        prove: waits until the broker has executed the joins of groups, of which some may be removed meanwhile; ``None``
            if ``add`` has waited for that.
    """

    def __init__(
        self,
        add: _Call,
        discard: _Call,
        joined: Callable[[str], None],
        prove: Callable[[Collection[str]], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self._add = add
        self._discard = discard
        self._joined = joined
        self._prove = prove
        self._wanted: dict[str, None] = {}
        self._confirmed: set[str] = set()
        # Those in which the layer may hold the channel: from the begin of a join until a leave has succeeded.
        self._held: set[str] = set()
        self._half_left: set[str] = set()
        # Ordered dicts, which find their first key in the same time however many were removed before it.
        self._to_do: OrderedDict[str, None] = OrderedDict()
        self._again: OrderedDict[str, None] = OrderedDict()
        self._under_way: set[str] = set()
        # Those whose joins have returned: to be proven next, and being proven.
        self._unproven: dict[str, None] = {}
        self._in_proof: dict[str, None] = {}
        self._prover: asyncio.Task[None] | None = None
        # Those whose joins must be proven again, and of those, the ones of which the layer may believe in vain that it
        # has joined them.
        self._doubted: set[str] = set()
        self._disproven: set[str] = set()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._retry_after = _FIRST_RETRY
        self._is_slow = False
        self.is_failing = False
        # Those whose last call failed: on a layer spread over several servers, calls for others succeed meanwhile.
        self._refused: set[str] = set()

    @property
    def wanted(self) -> tuple[str, ...]:
        """The groups that are to be joined, those first that were wanted first."""
        return tuple(self._wanted)

    def want(self, *groups: str) -> None:
        """Want groups: the next call that joins groups again joins these, too."""
        self._wanted.update(dict.fromkeys(groups))

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Join a group, from this call on; a leave may come before the returned coroutine is awaited.

        The coroutine waits until the layer confirms, or 1.5 s: if the layer is down, the group is joined once it is
        back.
        """
        self.want(group)
        pending = self._to_do, self._again, self._under_way
        is_confirmed = group in self._confirmed and not any(group in each for each in pending)
        if not is_confirmed and group not in self._unproven and group not in self._in_proof:
            self._do(group)
        if is_confirmed or self.is_failing or self._is_slow:
            return self._wait(None)
        future = self._waiting.get(group)
        if future is None:
            future = self._waiting[group] = asyncio.get_running_loop().create_future()
        return self._wait(future)

    def leave(self, group: str) -> None:
        """Leave a group; does not wait."""
        self._wanted.pop(group, None)
        self._unproven.pop(group, None)
        self._in_proof.pop(group, None)
        self._release(group)
        if group in self._held:
            self._do(group)
        else:
            self._to_do.pop(group, None)
            self._again.pop(group, None)
            self._refused.discard(group)

    def join_again(self, *groups: str) -> None:
        """Join groups again, or all of them if none is named: the broker may have forgotten them."""
        for group in groups or self._wanted:
            if group in self._confirmed and group not in self._to_do:
                self._again[group] = None
                self._start_worker()
            elif group in self._wanted:
                self._do(group)

    def doubt(self) -> None:
        """Prove all joins again as they are done again: the channel is a new one."""
        self._doubted |= self._confirmed

    async def settle(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until nothing is left to do, or the layer fails."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._workers and not self.is_failing and (left := deadline - loop.time()) > 0:
            await asyncio.wait(tuple(self._workers), timeout=left, return_when=asyncio.FIRST_COMPLETED)

    def stop(self) -> None:
        """Join and leave nothing more, and forget what the layer confirmed: the channel is given up."""
        for group in tuple(self._waiting):
            self._release(group)
        for worker in self._workers:
            worker.cancel()
        if self._prover is not None:
            self._prover.cancel()
            self._prover = None
        for record in (self._to_do, self._again, self._unproven, self._in_proof):
            record.clear()
        for groups in (self._confirmed, self._held, self._half_left, self._refused, self._doubted, self._disproven):
            groups.clear()
        self.is_failing = self._is_slow = False

    def _do(self, group: str) -> None:
        self._to_do[group] = None
        self._again.pop(group, None)
        self._start_worker()

    def _start_worker(self) -> None:
        if len(self._workers) < _AT_ONCE:
            worker = asyncio.get_running_loop().create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        try:
            while group := self._take():
                self._under_way.add(group)
                try:
                    await self._call(group)
                finally:
                    self._under_way.discard(group)
        finally:
            # At once, before the task's callback: _do() must not count on a worker that takes nothing any more.
            self._workers.discard(asyncio.current_task())

    def _take(self) -> str | None:
        for queue in (self._to_do, self._again):
            # A group that another worker is calling for stays: that worker will find it when it is done.
            group = next((group for group in queue if group not in self._under_way), None)
            if group is not None:
                del queue[group]
                return group
        return None

    async def _call(self, group: str) -> None:
        is_wanted = group in self._wanted
        if not is_wanted and group not in self._held:
            self._refused.discard(group)
            return
        try:
            async with asyncio.timeout(_CALL_LIMIT):
                await (self._join_at_layer(group) if is_wanted else self._leave_at_layer(group))
        except Exception as error:
            await self._failed([group], error)
            return
        if is_wanted and self._prove is not None and (group not in self._confirmed or group in self._doubted):
            if group in self._wanted:
                self._unproven[group] = None
                if self._prover is None or self._prover.done():
                    self._prover = asyncio.get_running_loop().create_task(self._prove_joins(self._prove))
            return
        if self._prove is None:
            self._is_slow = False
        self._succeeded(group, is_join=is_wanted)

    async def _prove_joins(self, prove: Callable[[Collection[str]], Coroutine[Any, Any, None]]) -> None:
        while self._unproven:
            self._in_proof = dict.fromkeys(islice(self._unproven, _MOST_PROVEN))
            for group in self._in_proof:
                del self._unproven[group]
            try:
                async with asyncio.timeout(_CALL_LIMIT):
                    await prove(self._in_proof)
            except Exception as error:
                failed, self._in_proof = tuple(self._in_proof), {}
                self._disproven.update(failed)
                await self._failed(failed, error)
                if self._to_do or self._again:
                    self._start_worker()
            else:
                self._is_slow = False
                proven, self._in_proof = self._in_proof, {}
                for group in proven:
                    self._succeeded(group, is_join=True)

    def _succeeded(self, group: str, *, is_join: bool) -> None:
        if self._refused == {group}:
            logger.info("The channel layer accepts joins and leaves again.")
        self._refused.discard(group)
        self.is_failing = False
        self._retry_after = _FIRST_RETRY
        if is_join and group in self._wanted:
            self._doubted.discard(group)
            self._confirmed.add(group)
            self._joined(group)
            self._release(group)

    async def _join_at_layer(self, group: str) -> None:
        self._held.add(group)
        if group in self._disproven:
            await self._discard(group)
            self._disproven.discard(group)
        await self._add(group)
        self._half_left.discard(group)

    async def _leave_at_layer(self, group: str) -> None:
        self._confirmed.discard(group)
        if group in self._half_left:
            # On some layers a leave that failed halfway does nothing when it is tried again.
            await self._add(group)
        self._half_left.add(group)
        await self._discard(group)
        self._half_left.discard(group)
        self._held.discard(group)
        self._doubted.discard(group)
        self._disproven.discard(group)

    async def _failed(self, groups: Collection[str], error: Exception) -> None:
        if not self._refused:
            logger.warning("The channel layer refused a join or leave; retrying until it works: %r", error)
        self.is_failing = True
        for group in groups:
            if group in self._wanted or group in self._held:
                (self._again if group in self._confirmed else self._to_do)[group] = None
                self._refused.add(group)
        for waiting in tuple(self._waiting):
            self._release(waiting)
        await asyncio.sleep(self._retry_after)
        self._retry_after = min(self._retry_after * 2, _LAST_RETRY)

    def _release(self, group: str) -> None:
        if (future := self._waiting.pop(group, None)) and not future.done():
            future.set_result(None)

    async def _wait(self, future: asyncio.Future[None] | None) -> None:
        if future is not None:
            await asyncio.wait([future], timeout=_JOIN_LIMIT)
            self._is_slow = self._is_slow or not future.done()
