"""Distinguish the end of the running task from a failure. Server and client share this module."""

import asyncio

__all__ = ["must_pass"]


def must_pass(error: BaseException) -> bool:
    """Return whether an error ends the running task or the process, and must not be handled as a failure.

    Other subclasses of ``BaseException`` may be failures: a panic in a Rust extension, or ``pytest.fail()``.
    """
    if isinstance(error, asyncio.CancelledError):
        # A task can also meet the cancellation of something that it awaited.
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, GeneratorExit | KeyboardInterrupt)
