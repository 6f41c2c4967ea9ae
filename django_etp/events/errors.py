"""Report exceptions: to the log, to the ``on_error`` hooks, and to the client."""

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db import Error as DatabaseError

from django_etp.cancellation import must_pass
from django_etp.concurrency.database import expect_broken_database
from django_etp.connections.connection import Connection
from django_etp.exceptions import (
    AckTimeout,
    ConnectionClosed,
    EventFailed,
    InvalidFrame,
    InvalidPayload,
    MessageTooLarge,
    TooManyEvents,
    TooManyRooms,
)
from django_etp.protocol.failures import handler_failed, named_failure
from django_etp.protocol.frames import Event
from django_etp.quoting import line_of, quote_traceback

from .handlers import call, run_reporting
from .namespaces import Namespace

__all__ = ["failure_observer", "failure_of", "report"]

logger = logging.getLogger(__name__)
logger.addFilter(quote_traceback)

# A function that is called with each failed event and its error; the testing kit sets it.
failure_observer: ContextVar[Callable[[Event, BaseException], None] | None] = ContextVar(
    "django_etp_failure_observer", default=None
)

# How long an on_error hook may take, in seconds.
_ERROR_LIMIT = 5.0
# The client or the network causes these, not the application: they are logged without a traceback.
_EXPECTED = (AckTimeout, ConnectionClosed, EventFailed, InvalidFrame, MessageTooLarge, TooManyEvents, TooManyRooms)


async def report(handlers: Namespace, connection: Connection | None, error: BaseException, doing: str) -> None:
    """Log an error and pass it to the ``on_error`` hooks; ``connection`` is ``None`` if there is none yet.

    ``doing`` names the failed step.
    """
    expected = isinstance(error, _EXPECTED) or _is_misfit(error)
    if isinstance(error, DatabaseError):
        expect_broken_database()
    logger.log(
        _level_of(error, is_expected=expected),
        "Connection %s failed at %s: %s: %s",
        connection.id if connection is not None else "(none yet)",
        doing,
        type(error).__name__,
        line_of(error),
        exc_info=None if expected else error,
    )
    for hook in handlers.on_error:
        try:
            async with asyncio.timeout(_ERROR_LIMIT):
                await call(hook, run_reporting, connection, error)
        except BaseException as failure:
            if must_pass(failure):
                raise
            logger.exception("The on_error hook %s failed itself.", hook.place)


def failure_of(error: BaseException) -> EventFailed:
    """Return the failure that a client gets for an error; without the text of an unexpected one unless in ``DEBUG``."""
    if isinstance(error, PermissionDenied):
        return EventFailed("permission_denied", str(error) or "This is not allowed.")
    if failure := named_failure(error):
        return failure
    return handler_failed(f"{type(error).__name__}: {error}") if settings.DEBUG else handler_failed()


def _is_misfit(error: BaseException) -> bool:
    """Return whether the data of an event does not fit its type."""
    return isinstance(error, InvalidPayload) and bool(error.errors) and not (error.is_outgoing or error.is_answer)


def _level_of(error: BaseException, *, is_expected: bool) -> int:
    if isinstance(error, EventFailed) and error.code == "unknown_event" and not error.is_from_peer:
        return logging.DEBUG  # it is in the log once for all connections; see log_unknown_event()
    if _is_misfit(error):
        return logging.INFO
    return logging.WARNING if is_expected else logging.ERROR
