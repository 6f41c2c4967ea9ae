"""Threads for the ORM's a-methods, and for whatever else asgiref runs thread-sensitively; fresh database connections.

asgiref runs all of that in one thread of the process, except within requests, which have a thread each. There, events
of all connections would wait for one another, and handshakes for events.

Rules kept here:

- A handshake's middleware and a connection's handlers use one of a few threads each. Those are kept, with their
  database connections, so that both stay bounded. A newcomer gets the thread that the fewest others use.
- Handlers never take a thread of handshakes.
- A database connection that is too old or broken is closed: as an async hook or handler begins, where nobody has looked
  for 10 s, and every 10 s.
- Tests keep their own thread, and code that has entered a ``ThreadSensitiveContext`` keeps that.
- After a fork the child starts threads of its own.
"""

import asyncio
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import SyncToAsync, ThreadSensitiveContext, sync_to_async
from django.db import close_old_connections

from django_etp.conf import get_settings

from .executor import DaemonExecutor
from .tasks import leave_alone
from .workers import has_runner

__all__ = [
    "expect_broken_database",
    "keep_database_fresh",
    "look_after_database",
    "use_handler_thread",
    "use_handshake_thread",
]

# How long a thread goes at most without its connections being looked after, in seconds.
_FRESH_FOR = 10.0
# Of each kind; fewer where the project allows fewer threads for plain handlers.
_MOST_THREADS = 8


class _Thread(DaemonExecutor):
    """One thread for what is thread-sensitive; it starts with the first call.

    Attributes:
        context: what asgiref knows it by.
        users: how many handshakes, or connections, use it now.
        looked_after_at: when its database connections were looked after last, on the monotonic clock.
    """

    def __init__(self) -> None:
        super().__init__(1, "etp-orm")
        self.context: Any = ThreadSensitiveContext()  # asgiref's have no types
        self.users = 0
        self.looked_after_at = -math.inf
        SyncToAsync.context_to_thread_executor[self.context] = self

    async def look_after(self) -> None:
        """Close its database connections that are too old or broken."""
        self.looked_after_at = time.monotonic()
        await asyncio.get_running_loop().run_in_executor(self, close_old_connections)


class _SharedThread:
    """asgiref's one thread, with what a _Thread has: for code that is called outside of any connection."""

    def __init__(self) -> None:
        self.users = 0
        self.is_used = True
        self.looked_after_at = -math.inf

    async def look_after(self) -> None:
        self.looked_after_at = time.monotonic()
        await sync_to_async(close_old_connections)()


_shared = _SharedThread()
_threads: dict[str, list[_Thread]] = {}


@contextmanager
def use_handshake_thread() -> Iterator[None]:
    """Run what is thread-sensitive inside in a thread of handshakes, and not in asgiref's shared one."""
    with _use("handshake"):
        yield


@contextmanager
def use_handler_thread() -> Iterator[None]:
    """Run what is thread-sensitive inside in a thread of handlers, and not in asgiref's shared one."""
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
    """Return the thread where the ORM's a-methods run here; ``None`` if it is not one of these."""
    if has_runner():
        return None
    context = SyncToAsync.thread_sensitive_context.get(None)
    if context is None:
        return _shared
    thread = SyncToAsync.context_to_thread_executor.get(context)
    return thread if isinstance(thread, _Thread) else None


async def keep_database_fresh() -> None:
    """Have the database looked after where nobody has for 10 s; to be called before each async hook and handler.

    It is done before whatever the hook asks of the ORM, but not waited for: others may keep the thread busy.
    """
    thread = _current()
    if thread is not None and thread.is_used and time.monotonic() - thread.looked_after_at > _FRESH_FOR:
        leave_alone(asyncio.get_running_loop().create_task(thread.look_after()))
        await asyncio.sleep(0)  # the call is in the thread's queue then


async def look_after_database() -> None:
    """Close too old or broken connections of all threads where the ORM's a-methods run."""
    if not has_runner():
        threads: list[_Thread | _SharedThread] = [
            _shared,
            *(thread for kept in _threads.values() for thread in kept if thread.is_used),
        ]
        await asyncio.gather(*(thread.look_after() for thread in threads))


def expect_broken_database() -> None:
    """Have the database looked after before the next of the ORM's a-methods here: a connection may have broken."""
    if (thread := _current()) is not None:
        leave_alone(asyncio.get_running_loop().create_task(thread.look_after()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.clear)
