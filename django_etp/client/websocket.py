"""The WebSocket of a client: how it is opened, and when it is aborted."""

import logging
from typing import Any

from websockets.asyncio.client import ClientConnection as BaseWebSocket
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidURI
from websockets.typing import Origin, Subprotocol
from websockets.uri import parse_uri

from django_etp.protocol.frames import ROOMS_SUBPROTOCOL, SUBPROTOCOL

from .credentials import Credentials, TokenLogger

__all__ = ["CLOSE_WAIT", "REFUSALS", "BaseWebSocket", "Connector", "WebSocket"]

# The close codes that refuse a message: it broke a rule of the protocol, its text is not UTF-8, there are too many
# events, it is too large.
REFUSALS = frozenset({1002, 1007, 1008, 1009})
# How long the server has to answer such a close, in seconds.
CLOSE_WAIT = 1.0


class WebSocket(BaseWebSocket):
    """A WebSocket that is aborted soon after a refusal; the library waits for the server to close, maybe for ever."""

    def send_data(self) -> None:
        """Write what the protocol has to send."""
        super().send_data()
        close = self.protocol.close_sent
        if close is not None and close.code in REFUSALS and self.protocol.close_rcvd is None:
            self.loop.call_later(CLOSE_WAIT, self.transport.abort)


class Connector:
    """Opens WebSockets to one URL. See ``EtpClient`` for the arguments.

    Raises:
        InvalidURI: the URL is invalid.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        origin: str | None,
        *,
        extensions: bool,
        **options: Any,
    ) -> None:
        try:
            parse_uri(url)
        except ValueError as error:  # as for a port that is not a number
            raise InvalidURI(url, str(error)) from error
        self._credentials = credentials
        if credentials.have_token:
            options.setdefault("logger", TokenLogger(logging.getLogger("websockets.client")))
        self._connect = connect(
            url,
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(ROOMS_SUBPROTOCOL), Subprotocol(SUBPROTOCOL)] if extensions else None,
            **{"create_connection": WebSocket, **options},
        )

    async def open(self) -> BaseWebSocket:
        """Open a WebSocket.

        Raises:
            InvalidURI: the host cannot be looked up.
            OSError, WebSocketException: connecting failed.
            Exception: a function of the credentials raised it.
        """
        self._connect.additional_headers = await self._credentials.pairs()
        try:
            return await self._connect
        except UnicodeError as error:  # a host name that cannot be encoded for a name server
            raise InvalidURI(self._connect.uri, str(error)) from error
