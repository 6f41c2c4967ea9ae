"""When the outboxes of an event loop are written: many of them by one task.

Rules kept here:

- The first write in a turn of the loop may go out at once. What else comes in that turn is written back to back in the
  next: it wakes the clients once for all of it, and one task writes where each outbox would need one.
- An outbox whose reader keeps its writer waiting holds up nobody: other tasks go on with the outboxes behind it, twice
  as many with each turn of the loop, so that a thousand such readers take ten turns.
- All that waits is written before the loop turns: who sends without end, and lets the loop turn now and then, finds the
  outboxes empty again.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Flusher"]


class Flusher:
    """Writes what waits at the outboxes of one event loop.

    Args:
        loop: the loop.
        context: the context variables of its tasks; each writes for many connections.

    Attributes:
        is_idle: whether take_turn() would return True: looking costs less than a call.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, context: contextvars.Context) -> None:
        self.is_idle = True
        self._loop = loop
        self._context = context
        self._waiting: deque[Callable[[], Coroutine[Any, Any, None]]] = deque()
        # The loop holds its tasks weakly; one that waits for a reader must not vanish.
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_started = False

    def add(self, drain: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have an outbox written, by ``drain``, in the loop's next turn."""
        self._waiting.append(drain)
        if not self._is_started:
            self._is_started = True
            self.is_idle = False
            self._start()

    def take_turn(self) -> bool:
        """Return whether the caller may write at once: nobody has in this turn of the loop, and nothing waits."""
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
        # Behind the first steps of the tasks, each of which ends where nothing is left, or a reader keeps it waiting.
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
