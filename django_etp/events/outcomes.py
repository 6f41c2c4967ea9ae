"""Report the events that were handled to the receivers of the signal ``event_handled``."""

import asyncio
import time
from typing import Any

from django_etp.connections.connection import Connection
from django_etp.signals import event_handled, notify

from .current import name_of
from .errors import failure_of
from .namespaces import Namespace

__all__ = ["report_handled"]


def report_handled(
    handlers: Namespace, connection: Connection, running: list[Any], began_at: float, error: BaseException | None
) -> None:
    """Send the signal for an event.

    Args:
        handlers: those of the connection's namespace.
        connection: the connection.
        running: the event, as in ``running_event``.
        began_at: when its handler began, by ``time.perf_counter()``.
        error: the exception that ended it, if there was one.
    """
    seconds = time.perf_counter() - began_at
    name = name_of(running)
    outcome = _outcome_of(error)
    is_in_room = len(running) > 2
    if error is None and name is None and not (is_in_room or handlers.on_unknown_event):
        outcome = "unknown_event"  # which only clients with the extensions learn
    notify(event_handled, connection=connection, event=running[0], name=name, seconds=seconds, outcome=outcome)


def _outcome_of(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else failure_of(error).code
