"""A limit for the database queries of handlers, in tests."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.utils import CursorWrapper

from django_etp.events.current import running_event

__all__ = ["sql_budget"]

_MOST_SHOWN = 50

_EXECUTE, _EXECUTEMANY = CursorWrapper.execute, CursorWrapper.executemany

_lock = threading.Lock()
_recordings: list[list[str]] = []  # of the blocks that run now


@contextmanager
def sql_budget(most: int) -> Iterator[list[str]]:
    """Check how many queries the handlers of events run within the block. See EtpCommunicator.sql_budget()."""
    queries: list[str] = []
    with _recorded(queries):
        yield queries
    if len(queries) > most:
        listed = "\n".join(f"{number}. {sql}" for number, sql in enumerate(queries[:_MOST_SHOWN], 1))
        raise AssertionError(f"Expected at most {most} queries of handlers, got {len(queries)}:\n{listed}")


@contextmanager
def _recorded(queries: list[str]) -> Iterator[None]:
    # Connections of any thread may run them, also those that are opened meanwhile, so the class is changed. The
    # context of a handler reaches each thread that it calls.
    with _lock:
        if not _recordings:
            CursorWrapper.execute = _recording(_EXECUTE)  # type: ignore[method-assign]
            CursorWrapper.executemany = _recording(_EXECUTEMANY)  # type: ignore[method-assign]
        _recordings.append(queries)
    try:
        yield
    finally:
        with _lock:
            _recordings[:] = [each for each in _recordings if each is not queries]
            if not _recordings:
                CursorWrapper.execute, CursorWrapper.executemany = _EXECUTE, _EXECUTEMANY  # type: ignore[method-assign]


def _recording(method: Callable[..., Any]) -> Callable[..., Any]:
    def run(self: CursorWrapper, sql: str, params: Any = None) -> Any:
        if running_event.get():
            for queries in list(_recordings):
                queries.append(sql)
        return method(self, sql, params)

    return run
