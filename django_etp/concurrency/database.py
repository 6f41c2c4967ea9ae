"""Threads for the ORM's a-methods and other thread-sensitive calls of asgiref, with fresh database connections.

asgiref runs these calls in one thread of the process, except within requests, which have a thread each. In that one
thread, events of all connections would wait for one another, and handshakes for events.

Rules kept here:

- A handshake's middleware, and a connection's handlers, use one of a few threads. The threads are kept, with their
  database connections, so that the number of both is bounded. A new user gets the thread with the fewest users.
- Handlers never use a thread of handshakes.
- A database connection that is too old or broken is closed every 10 s, and when an async hook begins, if the last check
  was more than 10 s ago.
- A call uses the schema of the tenant of its connection, and leaves the thread with the schema that it had before.
- Tests keep their own thread, and code inside a ``ThreadSensitiveContext`` keeps its thread.
- At exit, the process waits up to ``DISCONNECT_GRACE`` seconds for running calls. It does not wait for calls that began
  earlier than that before: if a handler waited for one, it was cancelled after its grace.
- After a fork the child starts threads of its own.
"""

import asyncio
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections

from django_etp import tenancy
from django_etp.conf import get_settings

from .executor import DaemonExecutor
from .exit import finish_at_exit
from .tasks import leave_alone
from .workers import has_runner

__all__ = [
    "expect_broken_database",
    "keep_database_fresh",
    "look_after_database",
    "serves_others",
    "use_handler_thread",
    "use_handshake_thread",
]

# How long a check of a thread's connections is valid, in seconds.
_FRESH_FOR = 10.0
# For handshakes, and again for handlers; SYNC_WORKERS may set a lower limit.
_MOST_THREADS = 8
_NAME = "etp-orm"


class _Thread(DaemonExecutor):
    """One thread for thread-sensitive calls; it starts with the first call.

    Attributes:
        context: asgiref's key for it.
        users: how many handshakes, or connections, use it now.
        checked_at: when its database connections were checked last, on the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__(1, _NAME)
        self.context: Any = ThreadSensitiveContext()  # asgiref's have no types
        self.users = 0
        self.checked_at = -math.inf
        SyncToAsync.context_to_thread_executor[self.context] = self
        finish_at_exit(self)

    def unfinished_since(self, seconds: float) -> list[Future[Any]]:
        """Return the calls that a process that exits waits for: those that began at most ``seconds`` ago."""
        earliest = time.monotonic() - seconds
        return [future for future in super().unfinished_since(seconds) if self.unfinished.get(future, 0.0) >= earliest]

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor.submit()."""
        if (tenant := tenancy.current_tenant()) is not None:
            return super().submit(tenancy.call_in, tenant, function, *args, **kwargs)
        return super().submit(function, *args, **kwargs)

    async def check(self) -> None:
        """Close its database connections that are too old or broken."""
        self.checked_at = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(self, close_old_connections)


class _SharedThread:
    """asgiref's shared thread, with the interface of a _Thread: for calls outside of any connection."""

    def __init__(self) -> None:
        self.users = 0
        self.is_used = True
        self.checked_at = -math.inf

    async def check(self) -> None:
        self.checked_at = time.monotonic()
        await sync_to_async(close_old_connections)()


_shared = _SharedThread()
_threads: dict[str, list[_Thread]] = {}


@contextmanager
def use_handshake_thread() -> Iterator[None]:
    """Run thread-sensitive calls of the block in a thread of handshakes, and not in asgiref's shared one."""
    with _use("handshake"):
        yield


@contextmanager
def use_handler_thread() -> Iterator[None]:
    """Run thread-sensitive calls of the block in a thread of handlers, and not in asgiref's shared one."""
    with _use("handler"):
        yield


@contextmanager
def _use(kind: str) -> Iterator[None]:
    previous = _current()
    if previous is None:
        yield
        return
    threads = _threads.setdefault(kind, [])
    if len(threads) < min(_MOST_THREADS, get_settings().sync_workers) and all(thread.users for thread in threads):
        threads.append(_Thread())
    thread = min(threads, key=lambda thread: thread.users)
    previous.users -= 1
    thread.users += 1
    token = SyncToAsync.thread_sensitive_context.set(thread.context)
    try:
        yield
    finally:
        SyncToAsync.thread_sensitive_context.reset(token)
        thread.users -= 1
        previous.users += 1


def _current() -> _Thread | _SharedThread | None:
    """Return the thread of the caller's thread-sensitive calls, or ``None`` if it is not managed here."""
    if has_runner():
        return None
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is None:
        return _shared
    thread = SyncToAsync.context_to_thread_executor.get(context)
    return thread if isinstance(thread, _Thread) else None


async def keep_database_fresh() -> None:
    """Close too old or broken connections of the caller's thread if the last check was more than 10 s ago.

    Call it before each async hook. The thread makes the check before it runs queries of the hook. The
    caller does not wait for the check, since other calls may keep the thread busy.
    """
    thread = _current()
    if thread is not None and thread.is_used and time.monotonic() - thread.checked_at > _FRESH_FOR:
        leave_alone(asyncio.get_running_loop().create_task(thread.check()))
        await asyncio.sleep(0)  # after this turn of the loop, the check is in the thread's queue


async def look_after_database() -> None:
    """Close too old or broken connections in all threads for thread-sensitive calls."""
    if not has_runner():
        threads: list[_Thread | _SharedThread] = [
            _shared,
            *(thread for kept in _threads.values() for thread in kept if thread.is_used),
        ]
        await asyncio.gather(*(thread.check() for thread in threads))


def expect_broken_database() -> None:
    """Have the connections of the caller's thread checked before its next query: one may have broken."""
    if (thread := _current()) is not None:
        leave_alone(asyncio.get_running_loop().create_task(thread.check()))


def serves_others() -> bool:
    """Return whether this is a thread for thread-sensitive calls of several tasks: no call should wait there long."""
    thread = threading.current_thread()
    return thread.name.startswith(_NAME) or thread in SyncToAsync.single_thread_executor._threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.clear)
