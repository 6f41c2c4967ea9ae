"""Flush many outboxes from one task per turn of the loop.

Rules kept here:

- The first write in a turn of the loop may go out at once. Later writes of that turn go out back to back in the next
  turn: each client wakes up once for all of them, and one task writes in place of a task for each outbox.
- A slow reader, which keeps the writer of its outbox waiting, does not delay other outboxes. Further tasks go on with
  them, twice as many with each turn of the loop, so that a thousand slow readers take ten turns.
- All waiting outboxes are flushed within one turn of the loop. So a handler that sends in an endless loop finds the
  outboxes empty again if it lets the loop turn now and then.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Flusher"]


class Flusher:
    """Flushes the outboxes of one event loop.

    Args:
        loop: the loop.
        context: the context variables of the tasks, each of which writes for many connections.

    Attributes:
        is_idle: whether take_turn() would return True. Reading it costs less than a call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self.is_idle = True
        self._loop = loop
        self._context = context
        self._waiting: deque[Callable[[], Coroutine[Any, Any, None]]] = deque()
        # The loop holds its tasks weakly, and a task that waits for a slow reader must not be collected.
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_started = False

    def add(self, drain: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Flush an outbox in the loop's next turn, by a call of ``drain``."""
        self._waiting.append(drain)
        if not self._is_started:
            self._is_started = True
            self.is_idle = False
            self._start()

    def take_turn(self) -> bool:
        """Return whether the caller may write at once: it is the first in this turn, and no outbox is waiting."""
        if not self.is_idle:
            return False
        self.is_idle = False
        self._loop.call_soon(self._end_turn)
        return True

    def _end_turn(self) -> None:
        self.is_idle = not self._is_started

    def _start(self, tasks: int = 1) -> None:
        for _ in range(tasks):
            task = self._loop.create_task(self._flush(), context=self._context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        # Called after the first step of each task. By then no outbox is left, or slow readers keep all tasks waiting.
        self._loop.call_soon(self._go_on, 2 * tasks)

    def _go_on(self, tasks: int) -> None:
        if self._waiting:
            self._start(min(tasks, len(self._waiting)))
        else:
            self._is_started = False
            self.is_idle = True

    async def _flush(self) -> None:
        while self._waiting:
            await self._waiting.popleft()()
