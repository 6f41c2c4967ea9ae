"""Notice that a transaction with durable events has committed.

Rules kept here:

- PostgreSQL notifies the relay of a commit in any process. With other databases the relay looks every half second, and
  at once after a commit of its own process. It looks every half second on PostgreSQL, too: a pooler between the two may
  drop notifications.
- Under tests no relay runs. The events are sent at the commit, by the thread that stored them, and also if Django's
  ``captureOnCommitCallbacks(execute=True)`` runs the callbacks of a transaction that never commits.
"""

import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import Error, connections

__all__ = ["CHANNEL", "Bell", "announce_commit", "is_under_test", "ring_under_test"]

CHANNEL = "django_etp_outbox"
# A relay sends its events within a transaction, and that takes up to 30 s.
_TIMEOUT = "idle_in_transaction_session_timeout"
_LONGEST_PAUSE_IN_TRANSACTION = 60

_bells: dict[str, "set[Bell]"] = {}
_under_test: list[Callable[[str], None]] = []


def announce_commit(using: str) -> None:
    """Let the relay of a database look for events now, if it runs in this process; under tests, send them."""
    if is_under_test():
        for deliver in _under_test:
            deliver(using)
    for bell in tuple(_bells.get(using, ())):
        bell.ring()


def is_under_test() -> bool:
    """Return whether Django's test runner, or pytest-django, has set up this process."""
    return hasattr(getattr(sys.modules.get("django.test.utils"), "_TestState", None), "saved_data")


def ring_under_test(deliver: Callable[[str], None]) -> None:
    """Call ``deliver`` with the alias of a database after each commit under tests."""
    _under_test[:] = [deliver]


class Bell:
    """Wakes the relay of one database. All methods but ring() are for the relay's thread.

    Args:
        using: the alias of the database.
    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._listening: Any = None
        self._was_notified = False
        self._ear, self._button = socket.socketpair()
        self._ear.setblocking(False)
        self._button.setblocking(False)
        _bells.setdefault(using, set()).add(self)

    def ring(self) -> None:
        """Wake the relay."""
        with suppress(OSError):  # it is full, so it rings already; or it was closed just now
            self._button.send(b"!")

    def listen(self) -> None:
        """Let PostgreSQL notify this thread's connection, which may be a new one. Call it before looking for events."""
        connection = connections[self._using]
        if connection.vendor != "postgresql":
            return
        connection.ensure_connection()
        if connection.connection is self._listening:
            return
        with connection.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
            # Else the turn of a relay whose machine has gone would be locked for hours.
            cursor.execute(f"SET {_TIMEOUT} = '{_LONGEST_PAUSE_IN_TRANSACTION}s'")
        self._listening = connection.connection
        if _is_psycopg3(self._listening):  # without a handler it would keep the notifications
            self._listening.add_notify_handler(self._record_notification)

    def wait(self, seconds: float) -> None:
        """Wait for a commit, at most so many seconds."""
        raw = self._listening
        if raw is not None and not _is_psycopg3(raw) and raw.notifies:
            self._was_notified = True
        if not self._was_notified:
            heard, _, _ = select.select([self._ear] if raw is None else [self._ear, raw], [], [], seconds)
            if raw in heard:
                self._read_notifications(raw)
        with suppress(BlockingIOError):
            self._ear.recv(4096)
        self._was_notified = False
        if raw is not None and not _is_psycopg3(raw):
            raw.notifies.clear()

    def forget_connection(self) -> None:
        """Stop to listen on the connection, which is broken."""
        self._listening = None

    def close(self) -> None:
        """End: the relay waits no more."""
        _bells[self._using].discard(self)
        self._ear.close()
        self._button.close()
        if self._listening is not None and connections[self._using].connection is self._listening:
            with suppress(Error), connections[self._using].cursor() as cursor:
                cursor.execute(f"UNLISTEN {CHANNEL}")  # a pool may give the connection to others
                cursor.execute(f"RESET {_TIMEOUT}")

    def _record_notification(self, notification: object) -> None:
        self._was_notified = True

    def _read_notifications(self, raw: Any) -> None:
        with suppress(Exception):  # the connection has broken: the next query fails
            if _is_psycopg3(raw):
                raw.pgconn.consume_input()
                while raw.pgconn.notifies():
                    pass
            else:
                raw.poll()


def _is_psycopg3(raw: Any) -> bool:
    return hasattr(raw, "add_notify_handler")


def _forget_bells() -> None:
    _bells.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_bells)
