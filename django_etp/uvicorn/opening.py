"""The opening of one connection: a client's request, until the application has answered it."""

import asyncio
import logging
from typing import Any

from uvicorn.config import Config

from django_etp.draining import draining

from .deflate import negotiate
from .handshake import Headers, Refusal, Request, accept_response, response
from .scope import describe, make_scope

__all__ = ["Opening"]

logger = logging.getLogger("uvicorn.error")  # where uvicorn's own classes write these lines


class Opening:
    """One request to open a WebSocket.

    Args:
        data: the request's bytes.
        transport: its transport.
        config, app_state: uvicorn's.

    Raises:
        Refusal: the request is no valid handshake, or the process is about to end.

    Attributes:
        scope: the ASGI scope.
        is_accepted: whether the application has accepted.
        window_bits: of the compression that was negotiated; 0 without.
    """

    __slots__ = ("_extension", "_key", "_response", "is_accepted", "scope", "window_bits")

    def __init__(self, data: bytes, transport: asyncio.Transport, config: Config, app_state: dict[str, Any]) -> None:
        request = Request.parse(data)
        self._key = request.accept_key()
        if draining.has_begun:
            raise Refusal(503, "the server restarts, try again")
        self._response: tuple[int, Headers, bytes] | None = None
        self._extension, self.window_bits = "", 0
        offers = request.values(b"sec-websocket-extensions")
        if offers and config.ws_per_message_deflate:
            self._extension, self.window_bits = negotiate(offers) or ("", 0)
        self.scope = make_scope(request, transport, config, app_state)
        self.is_accepted = False

    def answer(self, message: dict[str, Any], default_headers: Headers) -> bytes | None:
        """Take a message of the application; return the response, or ``None`` if there is more to come."""
        kind = message["type"]
        if self._response is not None:
            return self._add_body(kind, message)
        if kind == "websocket.accept":
            headers = [*default_headers, *((name.lower(), value) for name, value in message.get("headers") or ())]
            data = accept_response(self._key, self._extension, message.get("subprotocol"), headers)
            self.is_accepted = True
            self._log("[accepted]")
            return data
        if kind == "websocket.close":
            self._log("403")
            return response(403, (), b"")
        if kind != "websocket.http.response.start":
            raise RuntimeError(
                "Expected ASGI message 'websocket.accept', 'websocket.close' or 'websocket.http.response.start' "
                f"but got '{kind}'."
            )
        status = message["status"]
        if not 100 <= status < 600:
            raise RuntimeError(f"Invalid HTTP status code '{status}' in response.")
        self._log(str(status))
        self._response = status, [*(message.get("headers") or ())], b""
        return None

    def _add_body(self, kind: str, message: dict[str, Any]) -> bytes | None:
        assert self._response is not None
        if kind != "websocket.http.response.body":
            raise RuntimeError(f"Expected ASGI message 'websocket.http.response.body' but got '{kind}'.")
        status, headers, body = self._response
        self._response = status, headers, body + message.get("body", b"")
        return None if message.get("more_body", False) else response(*self._response)

    def _log(self, outcome: str) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info('%s - "WebSocket %s" %s', *describe(self.scope), outcome)
