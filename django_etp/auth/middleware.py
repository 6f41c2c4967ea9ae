"""``TokenAuthMiddleware``: log clients without cookies in, by a token of their handshakes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from django_etp.connections.asgi import Receive, Send, refuse, refuse_for_now
from django_etp.connections.scope import extensions_of

from .authenticator import Authenticate, Authenticator, NoVerdict
from .token_login import TokenLogin
from .tokens import take_tokens

__all__ = ["TokenAuthMiddleware"]

logger = logging.getLogger(__name__)


class TokenAuthMiddleware:
    """An ASGI application around others, which logs clients in by the token of their handshake.

    A client offers the token as the subprotocol ``etp.token.<base64url without padding>`` beside its other offers, or
    sends it in the header ``Authorization: Bearer <token>`` (or ``Token <token>``). ``authenticate`` is asked whose it
    is. The application inside gets that user as ``scope["user"]``, no session, and a scope without the token.

    A handshake with a token that is refused gets HTTP 403, as does one with several tokens. One without a token gets
    HTTP 403 too, unless a middleware around this one has put a user into the scope, as ``AuthMiddlewareStack`` does.
    If ``authenticate`` fails, or takes longer than 4 s, the client may try again: see ``on_connect``.

    The connection is closed with 4401 when the token expires, unless the client sends another one of the same user over
    the open socket: ``__auth||<ack>||{"token": …}``, for clients that speak the extensions.

    Args:
        app: the ASGI application inside, such as an ``EtpConsumer`` or a ``URLRouter``.
        authenticate: a function of the token and the scope, synchronous or asynchronous. It returns the user and when
            the token expires, an aware ``datetime``, or ``None`` if it does not expire. ``None`` in place of the pair,
            or ``PermissionDenied``, refuses the token.

    Raises:
        TypeError: ``authenticate`` cannot be called.
    """

    def __init__(
        self, app: Callable[[dict[str, Any], Receive, Send], Awaitable[None]], authenticate: Authenticate
    ) -> None:
        self._app = app
        self._authenticator = Authenticator(authenticate)

    # Not None, since type checkers let path() take only what may return a response.
    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> Any:
        """Serve one connection."""
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        scope, tokens = take_tokens(scope)
        if not tokens and "user" in scope:
            await self._app(scope, receive, send)
            return
        try:
            login = await self._log_in(scope, tokens)
        except NoVerdict:
            await refuse_for_now(scope, send, extensions_of(scope))
            return
        if login is None:
            await refuse(receive, send, 4401)
            return
        del tokens  # else they are in reports with the local variables of an error
        try:
            await self._app(login.added_to(scope), receive, send)
        finally:
            login.stop()

    async def _log_in(self, scope: dict[str, Any], tokens: list[str | None]) -> TokenLogin | None:
        """Return the login that the token gives; ``None`` if there is none."""
        grant, problem = None, f"it has {len(tokens)} tokens, and must have one"
        if len(tokens) == 1:
            token, problem = tokens[0], "its token cannot be read"
            if token is not None:
                began, problem = asyncio.get_running_loop().time(), "its token was not accepted"
                grant = await self._authenticator.grant(token, scope)
        if grant is None:
            logger.info("Refused a handshake for %.200r: %s.", scope.get("path"), problem)
            return None
        return TokenLogin(self._authenticator, grant, scope, asyncio.get_running_loop().time() - began)
