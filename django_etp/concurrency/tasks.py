"""Asyncio tasks: end them reliably, or let them end by themselves."""

import asyncio
from collections.abc import Iterable
from typing import Any

__all__ = ["end_tasks", "leave_alone"]

# How long a cancelled task may take to clean up before it is cancelled again, in seconds.
_CANCEL_AGAIN = 0.4

# Tasks without another reference: the event loop does not keep a task alive.
_left_alone: set[asyncio.Task[Any]] = set()


async def end_tasks(tasks: Iterable[asyncio.Task[Any]], limit: float) -> None:
    """Cancel tasks until they have ended, or ``limit`` seconds have passed.

    Once is not enough: until Python 3.12 ``asyncio.wait_for()``, which redis-py uses, can swallow a cancellation.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit
    pending = set(tasks)
    while pending and (left := deadline - loop.time()) > 0:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=min(left, _CANCEL_AGAIN))


def leave_alone(task: asyncio.Task[Any]) -> None:
    """Let a task run to its end, even if no other code refers to it or waits for it."""
    _left_alone.add(task)
    task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    _left_alone.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved here, else asyncio logs it if no waiter is left
