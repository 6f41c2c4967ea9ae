"""The tasks of one node, which end with it, and the bounded steps of its end."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

__all__ = ["Tasks", "bounded"]

logger = logging.getLogger(__name__)


class Tasks:
    """Tasks that run beside each other, and that nothing waits for."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()

    def run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task; a failure is only logged, for debugging."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def cancel(self) -> None:
        """Cancel all of them; does not wait."""
        for task in tuple(self._running):
            task.cancel()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()):
            logger.debug("A call to the channel layer failed; healing will notice if messages were lost: %r", error)


async def bounded(coroutine: Coroutine[Any, Any, None], seconds: float) -> None:
    """Run a coroutine for at most so many seconds; a failure is only logged, for debugging."""
    try:
        async with asyncio.timeout(seconds):
            await coroutine
    except Exception as error:
        logger.debug("A step of this node's end was cut short: %r", error)
