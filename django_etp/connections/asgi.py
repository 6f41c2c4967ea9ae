"""The ``receive`` and ``send`` of an ASGI server, and wrappers of ``send``."""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from channels.sessions import InstanceSessionWrapper

__all__ = ["Receive", "Send", "past_session_middleware", "with_trailing_delimiter"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def past_session_middleware(send: Send) -> Send:
    """Return the server's ``send`` if Channels' session middleware has wrapped it, and no other middleware after that.

    The wrapper checks for each message whether to save the session, which it never does for a WebSocket. The check
    takes longer than sending does.
    """
    wrapper: Any = getattr(send, "__self__", None)
    # A subclass of the wrapper may do more.
    return wrapper.real_send if type(wrapper) is InstanceSessionWrapper else send


def with_trailing_delimiter(send: Send) -> Send:
    """Return a ``send`` that writes the second delimiter of frames without data too."""

    @functools.wraps(send)  # the transport is found behind it
    async def send_delimited(message: dict[str, Any]) -> None:
        text = message.get("text")
        if text is not None and text.count("||") == 1:
            message = {**message, "text": f"{text}||"}
        await send(message)

    return send_delimited
