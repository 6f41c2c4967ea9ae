"""Middleware around the handlers of all events: a line in the log for each. `make demo-cluster` uses it."""

import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from django_etp import Connection, Event, handler_name

logger = logging.getLogger(__name__)


async def audit(connection: Connection, event: Event, handle: Callable[[Connection, Event], Awaitable[Any]]) -> Any:
    """Log who sent which event, and how long its handler took; the data stays out of the log."""
    began = time.monotonic()
    try:
        return await handle(connection, event)
    finally:
        took = (time.monotonic() - began) * 1000
        logger.info("%s: %s, %.1f ms", connection.user, handler_name() or "an unknown event", took)
