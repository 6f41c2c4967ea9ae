"""A test's database connections, lent to the thread that runs the ORM's a-methods.

A test inside a transaction has it on the connections of its own thread. asgiref runs thread-sensitive functions in
another thread, whose own connections do not see that transaction, and whose writes would outlive it. An in-memory
SQLite database is lent without a transaction too, as Django's live server does: with a second connection to it, SQLite
raises "table is locked".
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from asgiref.sync import sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["connections_to_lend", "is_borrowing", "lend", "shared_connections", "take_back"]


class _Borrower(threading.local):
    """The connections that a thread has borrowed.

    Attributes:
        borrowed: alias → the thread's own connection before that, and how often the borrowed one was lent.
        loans: how many calls of lend() have not been undone.
    """

    def __init__(self) -> None:
        self.borrowed: dict[str, tuple[BaseDatabaseWrapper | None, int]] = {}
        self.loans = 0


_borrower = _Borrower()


@asynccontextmanager
async def shared_connections() -> AsyncIterator[None]:
    """Let asgiref's shared thread use the database connections of this thread, with the test's transaction in them."""
    mine = connections_to_lend()
    # A cancellation does not stop the thread: connections that are being lent must be taken back, too.
    lending = asyncio.get_running_loop().create_task(sync_to_async(lend)(mine))
    try:
        await asyncio.shield(lending)
        yield
    finally:
        await lending
        await sync_to_async(take_back)(mine)


def connections_to_lend() -> dict[str, BaseDatabaseWrapper]:
    """Return the database connections of the test that runs on this thread, by alias."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _connections_to_lend()
    # Django keeps the connections of coroutines apart from those of the thread they run on. The test uses the latter.
    asyncio._set_running_loop(None)
    try:
        return _connections_to_lend()
    finally:
        asyncio._set_running_loop(loop)


def is_borrowing() -> bool:
    """Return whether this is the thread that runs a test's synchronous functions."""
    return _borrower.loans > 0


def lend(lent: dict[str, BaseDatabaseWrapper]) -> None:
    """Let this thread use these connections until take_back() was called as often."""
    _borrower.loans += 1
    for alias, connection in lent.items():
        own = next((own for own in _all_own() if own.alias == alias), None)
        before, times = _borrower.borrowed.get(alias, (own, 0))
        if own is connection and not times:
            continue  # it is a connection of this thread, as under TestCase
        _borrower.borrowed[alias] = before, times + 1
        connection.inc_thread_sharing()
        connections[alias] = connection
    for connection in _all_own():
        # Channels calls this around each function that it runs in a thread. Inside a transaction it would close the
        # connection. In a test without database access, pytest-django would raise when it looks at the connection.
        connection.close_if_unusable_or_obsolete = lambda: None  # type: ignore[method-assign]


def take_back(lent: dict[str, BaseDatabaseWrapper]) -> None:
    """Undo one lend() of these connections; the last one closes this thread's own connections."""
    for alias, connection in lent.items():
        if alias not in _borrower.borrowed:
            continue
        connection.dec_thread_sharing()
        before, times = _borrower.borrowed.pop(alias)
        if times > 1:
            _borrower.borrowed[alias] = before, times - 1
            continue
        _restore_close(connection)
        if before is None:
            del connections[alias]
        else:
            connections[alias] = before
    _borrower.loans -= 1
    if not _borrower.loans:
        for own in _all_own():
            _restore_close(own)
            # An open connection would keep the test database from being dropped.
            if not own.in_atomic_block:
                own.close()


def _connections_to_lend() -> dict[str, BaseDatabaseWrapper]:
    return {
        own.alias: own
        for own in _all_own()
        if own.in_atomic_block or (own.vendor == "sqlite" and own.is_in_memory_db())  # type: ignore[attr-defined]
    }


def _all_own() -> Sequence[BaseDatabaseWrapper]:
    return connections.all(initialized_only=True)


def _restore_close(connection: BaseDatabaseWrapper) -> None:
    vars(connection).pop("close_if_unusable_or_obsolete", None)
