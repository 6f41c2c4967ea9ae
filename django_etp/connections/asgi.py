"""The ``receive`` and ``send`` of an ASGI server: refusals, closes, and wrappers of ``send``."""

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from channels.sessions import InstanceSessionWrapper

from django_etp.protocol.closing import Disconnect

__all__ = [
    "Receive",
    "Send",
    "disconnect_of",
    "past_session_middleware",
    "refuse",
    "refuse_for_now",
    "send_close",
    "with_trailing_delimiter",
]

logger = logging.getLogger(__name__)

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_TRY_AGAIN = b"Service Unavailable: try again later.\n"


def disconnect_of(message: dict[str, Any]) -> Disconnect:
    """Return how a connection ended, for the server's message of that."""
    return Disconnect(message.get("code") or 1005, message.get("reason") or "")


async def refuse(receive: Receive, send: Send, code: int) -> None:
    """Refuse a handshake for good, with HTTP 403, before anything is known of the connection."""
    if (await receive())["type"] == "websocket.connect":
        await send({"type": "websocket.close", "code": code})


async def refuse_for_now(scope: dict[str, Any], send: Send, subprotocol: str | None = None) -> None:
    """Refuse a handshake for a reason that may pass, so that the client tries again.

    This is HTTP 503 if the server can send a status other than 403, as uvicorn can with the ASGI extension
    ``websocket.http.response``. Otherwise the handshake is accepted, and the connection closed with 1013.
    """
    if "websocket.http.response" in (scope.get("extensions") or ()):
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(_TRY_AGAIN))]
        await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": _TRY_AGAIN})
    else:
        await send({"type": "websocket.accept", "subprotocol": subprotocol})
        await send_close(send, {"type": "websocket.close", "code": 1013, "reason": "try again later"})


async def send_close(send: Send, message: dict[str, Any]) -> None:
    """Send a close; send its code plus 3000 to a server that does not take the code."""
    try:
        await send(message)
    except Exception as error:
        if not 1000 < message["code"] < 3000:
            raise
        # daphne accepts only 1000 and 3000 to 4999.
        logger.debug("The server refused close code %s: %r", message["code"], error)
        await send({**message, "code": message["code"] + 3000})


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
