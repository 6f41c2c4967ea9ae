"""A test's database connections, lent to the thread where the ORM's a-methods run.

A test inside a transaction has it on the connections of its own thread; asgiref runs what is thread-sensitive in
another, whose own connections would not see it, and would write past its end. An in-memory SQLite database is lent
without a transaction, too, as Django's live server does: a second connection to it meets "table is locked".
"""

import asyncio
import threading
from collections.abc import Sequence

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

__all__ = ["connections_to_lend", "is_borrowing", "lend", "take_back"]


class _Borrower(threading.local):
    """What a thread has borrowed: alias → its own connection before that, and how often it was lent."""

    def __init__(self) -> None:
        self.borrowed: dict[str, tuple[BaseDatabaseWrapper | None, int]] = {}
        self.loans = 0


_borrower = _Borrower()


def connections_to_lend() -> dict[str, BaseDatabaseWrapper]:
    """Return the database connections of the test that runs on this thread, by alias."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return _connections_to_lend()
    # Django keeps the connections of coroutines apart from those of the thread they run on, where the test has its own.
    asyncio._set_running_loop(None)
    try:
        return _connections_to_lend()
    finally:
        asyncio._set_running_loop(loop)


def is_borrowing() -> bool:
    """Return whether this thread is the one where a test runs what is synchronous."""
    return _borrower.loans > 0


def lend(lent: dict[str, BaseDatabaseWrapper]) -> None:
    """Let this thread use these connections until take_back() was called as often."""
    _borrower.loans += 1
    _lend(lent)
    for own in _all_own():
        # In a transaction it would close the connection, and so does whatever Channels runs in a thread call it; where
        # a test may use no database, pytest-django would raise at its question for the state of an open one.
        own.close_if_unusable_or_obsolete = _leave_open  # type: ignore[method-assign]


def _lend(lent: dict[str, BaseDatabaseWrapper]) -> None:
    for alias, connection in lent.items():
        own = _own(alias)
        before, times = _borrower.borrowed.get(alias, (own, 0))
        if own is connection and not times:
            continue  # it comes from this thread, as under TestCase
        _borrower.borrowed[alias] = before, times + 1
        connection.inc_thread_sharing()
        connections[alias] = connection


def take_back(lent: dict[str, BaseDatabaseWrapper]) -> None:
    """Undo one lend() of these connections; after the last, this thread's own are closed."""
    _take_back(lent)
    _borrower.loans -= 1
    if not _borrower.loans:
        for own in _all_own():
            _look_after_again(own)
            # Left open, it would keep the test database from being dropped.
            if not own.in_atomic_block:
                own.close()


def _take_back(lent: dict[str, BaseDatabaseWrapper]) -> None:
    for alias, connection in lent.items():
        if alias not in _borrower.borrowed:
            continue
        connection.dec_thread_sharing()
        before, times = _borrower.borrowed.pop(alias)
        if times > 1:
            _borrower.borrowed[alias] = before, times - 1
            continue
        _look_after_again(connection)
        if before is None:
            del connections[alias]
        else:
            connections[alias] = before


def _connections_to_lend() -> dict[str, BaseDatabaseWrapper]:
    return {
        own.alias: own
        for own in _all_own()
        if own.in_atomic_block or (own.vendor == "sqlite" and own.is_in_memory_db())  # type: ignore[attr-defined]
    }


def _all_own() -> Sequence[BaseDatabaseWrapper]:
    return connections.all(initialized_only=True)


def _own(alias: str) -> BaseDatabaseWrapper | None:
    return next((own for own in _all_own() if own.alias == alias), None)


def _leave_open() -> None:
    """Stand in for ``close_if_unusable_or_obsolete()``."""


def _look_after_again(connection: BaseDatabaseWrapper) -> None:
    vars(connection).pop("close_if_unusable_or_obsolete", None)
