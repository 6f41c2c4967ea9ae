"""Flush many outboxes from one task per turn of the loop.

Rules kept here:

- The first write in a turn of the loop may go out at once. Later writes of that turn go out back to back in the next
  turn: each client wakes up once for all of them, and one task writes in place of a task for each outbox.
- A slow reader, which keeps the writer of its outbox waiting, does not delay other outboxes. Further tasks go on with
  them, twice as many with each turn of the loop, so that a thousand slow readers take ten turns.
- All waiting outboxes are flushed within one turn of the loop. So a handler that sends in an endless loop finds the
  outboxes empty again if it lets the loop turn now and then.
- An outbox whose writer still waits at the end of the turn is watched from then on.
"""

import asyncio
import contextvars
from collections import deque
from typing import Protocol

from django_etp.conf import get_settings

from .watch import Watch, Writer

__all__ = ["Flusher"]


class Outbox(Writer, Protocol):
    """Frames that wait for one client."""

    async def flush(self) -> None:
        """Write all frames that wait."""


class Flusher:
    """Flushes the outboxes of one event loop.

    Args:
        loop: the loop.
        context: the context variables of the tasks, each of which writes for many connections.

    Attributes:
        is_idle: whether take_turn() would return True. Reading it costs less than a call.
        watch: the outboxes that have to wait for their clients.
        max_outbox: the setting ``MAX_OUTBOX``. Each write reads it, and the settings themselves take longer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self.is_idle = True
        self.max_outbox = get_settings().max_outbox
        self._loop = loop
        self._context = context
        self.watch = Watch(loop)
        self._waiting: deque[Outbox] = deque()
        # The outbox whose sender has this turn, until the turn ends.
        self._first: Outbox | None = None
        # The loop holds its tasks weakly, and a task that waits for a slow reader must not be collected.
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_started = False

    def add(self, outbox: Outbox) -> None:
        """Flush an outbox in the loop's next turn."""
        self._waiting.append(outbox)
        if not self._is_started:
            self._is_started = True
            self.is_idle = False
            self._start()

    def take_turn(self, outbox: Outbox) -> bool:
        """Return whether the caller may write to ``outbox`` at once.

        It may if it is the first in this turn, and no outbox is waiting.
        """
        if not self.is_idle:
            return False
        self.is_idle = False
        self._first = outbox
        self._loop.call_soon(self._end_turn)
        return True

    def _end_turn(self) -> None:
        self.is_idle = not self._is_started
        first, self._first = self._first, None
        if first is not None and first.is_waiting:
            self.watch.add(first)

    def _start(self, tasks: int = 1) -> None:
        # Each task keeps the outbox that it flushes in a list of its own.
        flushed: list[list[Outbox | None]] = [[None] for _ in range(tasks)]
        for current in flushed:
            task = self._loop.create_task(self._flush(current), context=self._context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # Called after the first step of each task. By then no outbox is left, or slow readers keep all tasks waiting.
        self._loop.call_soon(self._go_on, flushed)

    def _go_on(self, flushed: list[list[Outbox | None]]) -> None:
        for current in flushed:
            if (outbox := current.pop()) is not None:
                self.watch.add(outbox)
        if self._waiting:
            self._start(min(2 * len(flushed), len(self._waiting)))
        else:
            self._is_started = False
            self.is_idle = True

    async def _flush(self, current: list[Outbox | None]) -> None:
        while self._waiting:
            outbox = current[0] = self._waiting.popleft()
            await outbox.flush()
            if not current:
                return  # this task had to wait, and other tasks flush the outboxes that have come since
        current[0] = None
