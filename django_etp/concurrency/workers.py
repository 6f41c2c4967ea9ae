"""Run plain functions in threads: event handlers in one bounded pool, hooks in another, the library's own in a third.

Rules kept here:

- A plain function never runs in asgiref's shared thread: there, one that blocks stops a whole server.
- Hooks have threads of their own, so that handlers waiting for acks cannot starve them.
- The library's own calls, for stored sessions and users, have threads of their own: a hook may wait for such a call.
- Threads are shared fairly: a connection whose handlers or hooks wait leaves threads to others; see
  ``concurrency/executor.py``.
- Django's database connections are closed if they are too old or broken: before and after each call, and every 10 s in
  an idle thread.
- A call uses the schema of its caller's tenant, and leaves the thread with the schema that it had before.
- At exit, the process waits up to ``DISCONNECT_GRACE`` seconds for running calls, as a server does after a disconnect.
  It does not wait for calls whose caller has given up, such as a handler that was cancelled after its grace.
- After a fork the child starts pools of its own.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, connections

from django_etp import tenancy
from django_etp.conf import get_settings

from .executor import DaemonExecutor
from .exit import finish_at_exit
from .tasks import leave_alone

__all__ = ["exited", "has_runner", "run_by", "run_handler", "run_hook", "run_own"]

logger = logging.getLogger(__name__)

# How often an idle thread checks its database connections, in seconds.
_CLOSE_EVERY = 10.0

_pools: dict[tuple[str, int], DaemonExecutor] = {}
# Runs plain functions in place of the pools, as in the testing kit.
_runner: ContextVar[Callable[..., Any] | None] = ContextVar("django_etp_runner", default=None)


@contextmanager
def run_by(runner: Callable[..., Any]) -> Iterator[None]:
    """Run plain functions that are started in the block by ``runner``, and not in the pools."""
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def has_runner() -> bool:
    """Return whether run_by() applies to plain functions that are started here."""
    return _runner.get() is not None


async def run_handler(function: Callable[..., Any], *args: Any, owner: object = None) -> Any:
    """Run a plain event handler in a thread, at most ``SYNC_WORKERS`` at a time, and return its result.

    ``owner`` is the id of its connection: connections share the threads fairly.
    """
    return await _run("etp-handler", owner, function, *args)


async def run_hook(function: Callable[..., Any], *args: Any, owner: object = None) -> Any:
    """Run a plain hook in a thread that no event handler can take, and return its result. See run_handler()."""
    return await _run("etp-hook", owner, function, *args)


async def run_own(function: Callable[..., Any], *args: Any, owner: object = None) -> Any:
    """Run a function of the library, which waits for no connection, in a thread that no handler or hook can take.

    ``owner`` is the key of the session that it reads or writes, if it may wait for a lock there.
    """
    return await _run("etp-own", owner, function, *args)


async def _run(kind: str, owner: object, function: Callable[..., Any], *args: Any) -> Any:
    loop = asyncio.get_running_loop()
    submission: _Submission | None = None
    if (runner := _runner.get()) is not None:
        call = runner(_guarded, function, *args)
    else:
        submission = _Submission(_pool(kind), owner)
        # asgiref types the executor as a ThreadPoolExecutor, but passes it to run_in_executor(), which takes any.
        call = sync_to_async(_call, thread_sensitive=False, executor=submission)(  # type: ignore[call-overload]
            function, *args
        )
    # A cancelled sync_to_async() may wait for its thread. The shield lets the call go on without its caller.
    task = loop.create_task(call)
    leave_alone(task)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # A loop that ends cancels both tasks: the caller has not given up, and the call keeps its time at exit.
        if submission is not None and not task.cancelling():
            submission.abandon()
        raise


class _Submission(Executor):
    """One call to a pool. It keeps the call's future, which ``sync_to_async()`` does not return."""

    def __init__(self, pool: DaemonExecutor, owner: object) -> None:
        self._pool = pool
        self._owner = owner
        self._future: Future[Any] | None = None

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor.submit()."""
        self._future = self._pool.submit_for(self._owner, partial(function, *args, **kwargs))
        return self._future

    def abandon(self) -> None:
        """Let the process exit without waiting for the call."""
        if self._future is not None:
            self._pool.unfinished.pop(self._future, None)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    close_old_connections()
    try:
        return _guarded(function, *args)
    finally:
        close_old_connections()


def _guarded(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return tenancy.call(function, *args)
    except SystemExit as error:
        raise exited(error) from error
    except StopIteration as error:
        # A future cannot hold a StopIteration: its waiters would wait for ever. Coroutines raise a RuntimeError, too.
        raise RuntimeError("A plain function raised StopIteration. Give next() a default.") from error


def exited(error: SystemExit) -> RuntimeError:
    """Return the error to raise for a ``sys.exit()`` in a handler or hook, which would end the server's event loop."""
    stand_in = RuntimeError(f"sys.exit({error.code!r}) would have ended the server. Raise another exception.")
    stand_in.__cause__ = error
    return stand_in


def _pool(kind: str) -> DaemonExecutor:
    key = kind, get_settings().sync_workers
    if key not in _pools:
        _pools[key] = DaemonExecutor(key[1], kind, _Calls())
        # Before the background hub stops, by atexit: calls that finish at exit may send through that.
        finish_at_exit(_pools[key])
    return _pools[key]


class _Calls(SimpleQueue[Any]):
    """The queue of a pool's calls. A thread that waits for a call closes its database connections that grow too old."""

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """See SimpleQueue.get()."""
        while block and timeout is None and _has_ageing_connection():
            try:
                return super().get(timeout=_CLOSE_EVERY)
            except Empty:
                try:
                    close_old_connections()
                except Exception:  # else the thread would end, and its calls would wait for ever
                    logger.exception("A thread could not close its old database connections.")
        return super().get(block, timeout)


def _has_ageing_connection() -> bool:
    """Return whether this thread has a database connection that may grow too old."""
    return any(
        each.connection is not None and each.close_at is not None for each in connections.all(initialized_only=True)
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)
