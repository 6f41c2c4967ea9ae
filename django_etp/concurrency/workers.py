"""Threads for plain functions: event handlers in one bounded pool, hooks in another, the library's own in a third.

Rules kept here:

- A plain function never runs in the one thread that asgiref shares, where one that waits stops a whole server.
- Hooks have threads of their own, so that handlers waiting for acks cannot starve them.
- What the library itself does with stored sessions and users waits behind neither: a hook may wait for it.
- Django's database connections are closed when they are too old or broken: before and after each call, and every 10 s
  in a thread that has nothing to do.
- After a fork the child starts pools of its own.
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

from django_etp.conf import get_settings

from .tasks import leave_alone

__all__ = ["exited", "has_runner", "run_by", "run_handler", "run_hook", "run_own"]


# How often a thread that has nothing to do looks after its connections, in seconds.
_CLOSE_EVERY = 10.0

_pools: dict[tuple[str, int], ThreadPoolExecutor] = {}
# What runs them instead, as under the testing kit.
_runner: ContextVar[Callable[..., Any] | None] = ContextVar("django_etp_runner", default=None)


@contextmanager
def run_by(runner: Callable[..., Any]) -> Iterator[None]:
    """Run plain functions started inside by ``runner`` instead of in the pools."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def has_runner() -> bool:
    """Whether plain functions started here run by what run_by() set."""
    return _runner.get() is not None


async def run_handler(function: Callable[..., Any], *args: Any) -> Any:
    """Run a plain event handler in a thread, at most ``SYNC_WORKERS`` at a time, and return what it returns."""
    return await _run("etp-handler", function, *args)


async def run_hook(function: Callable[..., Any], *args: Any) -> Any:
    """Run a plain hook in a thread that no event handler can take, and return what it returns."""
    return await _run("etp-hook", function, *args)


async def run_own(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function of the library, which waits for no connection, in a thread that no handler or hook can take."""
    return await _run("etp-own", function, *args)


async def _run(kind: str, function: Callable[..., Any], *args: Any) -> Any:
    if (runner := _runner.get()) is not None:
        call = runner(_guarded, function, *args)
    else:
        call = sync_to_async(_call, thread_sensitive=False, executor=_pool(kind))(function, *args)
    # Cancelled, sync_to_async would wait for its thread: leave that behind instead, it ends when it ends.
    task = asyncio.get_running_loop().create_task(call)
    leave_alone(task)
    return await asyncio.shield(task)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    close_old_connections()
    try:
        return _guarded(function, *args)
    finally:
        close_old_connections()


def _guarded(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except SystemExit as error:
        raise exited(error) from error
    except StopIteration as error:
        # A future cannot carry it: whoever waits would wait for ever. Coroutines raise the same instead of it.
        raise RuntimeError("A plain function raised StopIteration. Give next() a default.") from error


def exited(error: SystemExit) -> RuntimeError:
    """Return what stands for a ``sys.exit()`` in a handler or hook, which would end the server's event loop."""
    stand_in = RuntimeError(f"sys.exit({error.code!r}) would have ended the server. Raise another exception.")
    stand_in.__cause__ = error
    return stand_in


def _pool(kind: str) -> ThreadPoolExecutor:
    key = kind, get_settings().sync_workers
    if key not in _pools:
        pool = _pools[key] = ThreadPoolExecutor(key[1], thread_name_prefix=kind)
        # Not public: without it, connections of idle threads would stay open until their thread's next call.
        pool._work_queue = _Calls()
    return _pools[key]


class _Calls(SimpleQueue[Any]):
    """The calls that wait for a pool's threads; a thread that waits for one closes connections that grow too old."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See SimpleQueue.get()."""
        while block and timeout is None and _has_ageing_connection():
            try:
                return super().get(timeout=_CLOSE_EVERY)
            except Empty:
                close_old_connections()
        return super().get(block, timeout)


def _has_ageing_connection() -> bool:
    """Whether this thread has a database connection that may be closed for its age."""
    return any(
        each.connection is not None and each.close_at is not None for each in connections.all(initialized_only=True)
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
