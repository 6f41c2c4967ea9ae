"""The ``send`` that a server and its middleware give a consumer, and what is put around it or taken off."""

from collections.abc import Awaitable, Callable
from typing import Any

from channels.sessions import InstanceSessionWrapper

__all__ = ["Receive", "Send", "past_session_middleware", "with_trailing_delimiter"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


def past_session_middleware(send: Send) -> Send:
    """Return the ``send`` that Channels' session middleware has put its own around, where that is the outermost.

    Its own looks at each message whether to save the session, which it never does for a WebSocket; that takes longer
    than sending does.
    """
    wrapper: Any = getattr(send, "__self__", None)
    # A subclass may do more.
    return wrapper.real_send if type(wrapper) is InstanceSessionWrapper else send


def with_trailing_delimiter(send: Send) -> Send:
    """Return a ``send`` that writes the second delimiter of frames without data too."""

    async def send_delimited(message: dict[str, Any]) -> None:
        text = message.get("text")
        if text is not None and text.count("||") == 1:
            message = {**message, "text": f"{text}||"}
        await send(message)

    return send_delimited
