"""The events of one room with history, on their way to the members in this process: each once, and in order.

Rules kept here:

- Events come from this process's own sends, from other processes and from the store, in any order, and more than once.
  Members get them by their numbers.
- An event that comes too early waits. If those before it do not come within 0.1 s, they are read from the store.
- All events wait until the feed knows the position at which it begins. All members who come meanwhile share that read.
- If the store was emptied, the feed goes on with the first event of the new epoch.
- Events of an epoch that the store does not know are delivered as they are.
- Events that the store does not have any more are lost. The feed goes on after them.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from django_etp.exceptions import HistoryUnavailable
from django_etp.history.store import Entry, Position, Recovery

__all__ = ["Feed"]

logger = logging.getLogger(__name__)

# How long events may be under way after a later one has come, in seconds: two processes may send at once.
_PATIENCE = 0.1
_RETRY_AFTER = 1.0


class Feed:
    """The events of one room for the members in this process.

    Args:
        deliver: delivers an event to the members.
        read: returns what the store has after a position.
        lost: is called with the number of events that the store does not have any more.
        run: runs a coroutine whatever becomes of its caller.
    """

    def __init__(
        self,
        deliver: Callable[[Entry], None],
        read: Callable[[Position | None], Coroutine[Any, Any, Recovery]],
        lost: Callable[[int], None],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self.position: Position | None = None
        self.is_over = False
        self._deliver = deliver
        self._read = read
        self._lost = lost
        self._run = run
        self._beginning: asyncio.Future[None] | None = None  # settles once the first position is read
        self._early: dict[Position, Entry] = {}
        self._check: asyncio.Task[None] | None = None
        self._check_again = False

    async def begin(self) -> None:
        """Begin after the last event of the room. Events that come from now on are delivered.

        Raises:
            HistoryUnavailable: the store cannot be reached.
        """
        while self.position is None:
            if self._beginning is None:
                await self._begin()
            else:
                await asyncio.shield(self._beginning)

    async def _begin(self) -> None:
        beginning = self._beginning = asyncio.get_running_loop().create_future()
        try:
            self.position = (await self._read(None)).position
            self._drain()
        except Exception as error:
            beginning.set_exception(error)
            beginning.exception()  # other callers may wait for it, or none
            raise
        finally:
            self._beginning = None
            if not beginning.done():  # if this caller has given up, another one reads
                beginning.set_result(None)

    def take(self, entry: Entry) -> None:
        """Take an event, which may have come before."""
        position, at = entry.position, self.position
        if at is not None and position.epoch == at.epoch and position.number <= at.number:
            return
        self._early[position] = entry
        if at is not None:
            self._drain()
            if self._early:
                self.check(_PATIENCE)

    def check(self, after: float = 0.0) -> None:
        """Read what is missing from the store, after some seconds."""
        if self.position is None or self.is_over:
            return
        if self._check is None:
            self._check = self._run(self._repair(after))
        else:
            self._check_again = True

    def end(self) -> None:
        """Deliver nothing more."""
        self.is_over = True
        self._early.clear()

    def _drain(self) -> None:
        """Deliver the events whose turn it is, and forget those that were delivered."""
        while self.position is not None and not self.is_over:
            following = Position(self.position.epoch, self.position.number + 1)
            entry = self._early.pop(following, None)
            if entry is None:
                break
            self.position = following
            self._deliver(entry)
        if self._early and (at := self.position) is not None:
            self._early = {each: entry for each, entry in self._early.items() if each.epoch != at.epoch or each > at}

    async def _repair(self, after: float) -> None:
        try:
            await asyncio.sleep(after)
            while not self.is_over:
                self._check_again = False
                try:
                    self._go_on_with(await self._read(self.position))
                except HistoryUnavailable as error:
                    logger.info("What is missing in a room cannot be read yet: %s", error)
                    await asyncio.sleep(_RETRY_AFTER)
                    continue
                if not self._check_again:
                    if not self._early:
                        break
                    await asyncio.sleep(_PATIENCE)
        finally:
            self._check = None

    def _go_on_with(self, recovery: Recovery) -> None:
        at, last = self.position, recovery.position
        if at is None:
            return
        if at.epoch != last.epoch:  # the store was emptied
            self._deliver_of(at.epoch)
            self.position = Position(last.epoch, 0)
            self._check_again = True
            return
        if recovery.missed is None:
            early = [each.number for each in self._early if each.epoch == at.epoch]
            following = min(early, default=last.number + 1)
            if following > at.number + 1:
                self._lost(following - at.number - 1)
            # A server that took over may have forgotten the last events: their numbers come again.
            self.position = Position(at.epoch, following - 1)
        for entry in recovery.missed or ():
            self._early[entry.position] = entry
        self._drain()
        for epoch in {each.epoch for each in self._early} - {at.epoch}:
            self._deliver_of(epoch)  # of a process with another store

    def _deliver_of(self, epoch: str) -> None:
        for position in sorted(each for each in self._early if each.epoch == epoch):
            if not self.is_over:
                self._deliver(self._early.pop(position))
