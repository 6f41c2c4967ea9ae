"""Warn of a plain emit inside a transaction, while a project is developed and tested."""

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from .commits import has_transaction

__all__ = ["EmitInTransaction", "warn_in_transaction"]

_PACKAGE = f"{Path(__file__).parents[1]}{os.sep}"

# Returns whether this thread runs code under test. The testing kit sets it.
is_under_test: Callable[[], bool] | None = None

# The places that were warned of, under these filters: each test of pytest has filters of its own.
_warned: set[tuple[str, int]] = set()
_filters: Any = None


class EmitInTransaction(UserWarning):
    """An event was sent inside ``atomic()``: its receivers may act on data that is not committed, or never will be."""


def warn_in_transaction() -> None:
    """If a transaction is open on this thread, warn of the call of emit() that leads here, once per place."""
    if not (settings.DEBUG or (is_under_test is not None and is_under_test())):
        return
    if any(has_transaction(connection) for connection in connections.all(initialized_only=True)):
        _warn()


def _warn() -> None:
    global _filters
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame, level = frame.f_back, level + 1
    if _filters is not warnings.filters:
        _filters = warnings.filters
        _warned.clear()
    place = frame.f_code.co_filename, frame.f_lineno
    if place not in _warned:
        _warned.add(place)
        warnings.warn(
            "rooms.emit() was called inside atomic(): the event goes out before the commit, and also if there is a "
            "rollback. Call rooms.emit_on_commit() with the same arguments.",
            EmitInTransaction,
            stacklevel=level,
        )
