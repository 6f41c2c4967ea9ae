"""The ``receive`` and ``send`` of an ASGI server: refusals, closes, and wrappers of ``send``."""

import functools
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from channels.sessions import InstanceSessionWrapper

from django_etp.protocol.closing import RESTART, Disconnect

__all__ = [
    "Receive",
    "Send",
    "disconnect_of",
    "is_of_a_client_that_is_gone",
    "past_session_middleware",
    "refuse",
    "refuse_for_now",
    "refuse_in_drain",
    "send_close",
    "server_behind",
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


async def refuse_in_drain(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Refuse a handshake since this process is about to end. See refuse_for_now(); daphne's status is 503, too."""
    if (await receive())["type"] == "websocket.connect" and not _deny_on_daphne(send):
        await refuse_for_now(scope, send)


def _deny_on_daphne(send: Send) -> bool:
    # As daphne's serverReject() does with 403, which is all that its ASGI messages can express.
    server: Any = server_behind(send)
    autobahn: Any = sys.modules.get("autobahn.websocket.types")
    if autobahn is None or not hasattr(server, "handshake_deferred"):
        return False
    server.handshake_deferred.errback(autobahn.ConnectionDeny(503, "Service Unavailable"))
    del server.handshake_deferred
    server.server.protocol_disconnected(server)
    return True


async def send_close(send: Send, message: dict[str, Any]) -> None:
    """Send a close; send its code plus 3000 to a server that does not take the code."""
    code, reason = message["code"], message.get("reason", "")
    try:
        await send(message)
    except Exception as error:
        if not 1000 < code < 3000:
            raise
        # daphne accepts only 1000 and 3000 to 4999, and drops the reason, which clients need to come back from a drain.
        logger.debug("The server refused close code %s: %r", code, error)
        send_frame = getattr(server_behind(send), "sendCloseFrame", None) if code == RESTART and reason else None
        if send_frame is not None:
            send_frame(code, reason.encode())
        else:
            await send({**message, "code": code + 3000})


def is_of_a_client_that_is_gone(error: Exception) -> bool:
    """Return whether daphne's ``send`` raised an error since the client is gone. A close raises none there then."""
    autobahn: Any = sys.modules.get("autobahn.exception")
    return autobahn is not None and isinstance(error, autobahn.Disconnected)


def server_behind(send: Send) -> object:
    """Return the protocol object of the server whose ``send`` this is; ``None`` if a middleware hides it.

    uvicorn's ``send`` is a method of that object. daphne's is a partial whose first argument is the object.
    """
    server: Any = getattr(send, "__wrapped__", send)
    if isinstance(server, functools.partial) and server.args:
        return server.args[0]
    return getattr(server, "__self__", None)


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
