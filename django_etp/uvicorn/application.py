"""Call an ASGI application, and log how it failed in the words of uvicorn's own classes."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

__all__ = ["ClientDisconnected", "call"]

logger = logging.getLogger("uvicorn.error")


class ClientDisconnected(OSError):
    """The client is gone, so nothing can be sent to it."""


async def call(
    application: Any,
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> bool:
    """Run an application until its end; return whether it has returned, as it should."""
    try:
        result = await application(scope, receive, send)
    except ClientDisconnected:
        return False
    except BaseException:
        logger.exception("Exception in ASGI application\n")
        return False
    if result is not None:
        logger.error("ASGI callable should return None, but returned '%s'.", result)
    return True
