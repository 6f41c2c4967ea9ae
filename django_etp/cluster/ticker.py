"""A node's clock: call a function several times a second, and detect that the process was paused."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ["Ticker"]

logger = logging.getLogger(__name__)

_TICK = 0.25
# A tick later than this leaves messages unread that arrived meanwhile.
_LATE = 2 * _TICK
# A tick later than this means that the whole process stood still.
_PAUSED = 1.5


class Ticker:
    """A task that ticks every 0.25 s.

    Args:
        tick: is called at each tick, with the loop's time; an error is logged, and ticking goes on.
        paused: is called before the first tick after a pause of the process.
        loop_ended: is awaited if the task is cancelled by anything but stop(), which is what the end of a loop does.
    """

    def __init__(
        self,
        tick: Callable[[float], None],
        paused: Callable[[float], None],
        loop_ended: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._tick = tick
        self._paused = paused
        self._loop_ended = loop_ended
        self._task: asyncio.Task[None] | None = None
        self.is_late = False

    @property
    def is_running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._task is not None

    def start(self) -> None:
        """Begin to tick."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def stop(self) -> None:
        """End the ticking; does not wait."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        ticked_at = loop.time()
        try:
            while True:
                await asyncio.sleep(_TICK)
                now = loop.time()
                elapsed, ticked_at = now - ticked_at, now
                self.is_late = elapsed > _LATE
                try:
                    if elapsed > _PAUSED:
                        self._paused(now)
                    self._tick(now)
                except Exception:
                    logger.exception("The periodic work for the channel layer failed, and goes on.")
        except asyncio.CancelledError:
            if self._task is not None:
                # Not by stop(): the loop ends, and waits for its tasks.
                self._task = None
                await self._loop_ended()
            raise
