"""Report the events that were handled to the receivers of the signal ``event_handled``."""

import asyncio
import time

from django_etp.connections.connection import Connection
from django_etp.protocol.frames import Event
from django_etp.signals import event_handled, notify

from .errors import failure_of
from .namespaces import Namespace

__all__ = ["report_handled"]


def report_handled(
    handlers: Namespace, connection: Connection, item: object, began_at: float, error: BaseException | None
) -> None:
    """Send the signal for an event; do nothing for a malformed frame.

    Args:
        handlers: those of the connection's namespace.
        connection: the connection.
        item: the event.
        began_at: when its handler began, by ``time.perf_counter()``.
        error: the exception that ended it, if there was one.
    """
    if isinstance(item, Event):
        name = item.name if item.name in handlers.events else None
        seconds = time.perf_counter() - began_at
        outcome = _outcome_of(error)
        if error is None and name is None and not handlers.on_unknown_event:
            outcome = "unknown_event"  # which only clients with the extensions learn
        notify(event_handled, connection=connection, event=item, name=name, seconds=seconds, outcome=outcome)


def _outcome_of(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return "cancelled" if isinstance(error, asyncio.CancelledError) else failure_of(error).code
