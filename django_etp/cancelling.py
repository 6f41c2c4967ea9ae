"""Whose end an error is: that of the running task, or of something it called or waited for."""

import asyncio

__all__ = ["must_pass"]


def must_pass(error: BaseException) -> bool:
    """Return whether an error is the end of the running task, or of the process, and no failure of what it called.

    What is derived from ``BaseException`` need not be one: a panic in a Rust extension is not, nor a test's ``fail()``.
    """
    return _is_cancelled(error) or isinstance(error, GeneratorExit | KeyboardInterrupt)


def _is_cancelled(error: BaseException) -> bool:
    """Return whether this is the running task's own cancellation, rather than that of something it waited for."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
