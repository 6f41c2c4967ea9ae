"""The login of one connection by a token: its expiry, and its renewal over the open socket.

Rules kept here:

- At its expiry the connection is closed with 4401, unless the client has sent another token: ``__auth``.
- A renewal is for the same user, and for a connection that still is that user's. Any other is refused and changes
  nothing.
- One renewal of a connection runs at a time, and a few more wait.
- The clock decides when a token expires. It is looked at every 30 s, since it may be set, and a machine may sleep.
"""

import asyncio
import contextvars
import json
import logging
from typing import Any

from django_etp.connections.peer import Peer
from django_etp.connections.records import facts_of
from django_etp.connections.scope import identity_of, user_id_of
from django_etp.exceptions import EventFailed, InvalidPayload
from django_etp.protocol.closing import TOKEN_EXPIRED
from django_etp.protocol.failures import encode_failure, handler_failed
from django_etp.protocol.frames import Event, encode_answer
from django_etp.sessions.lazy import unwrapped

from .authenticator import Authenticator, Grant, NoVerdict
from .tokens import is_token

__all__ = ["TokenLogin", "begin_renewal", "token_login_of", "watch_login"]

logger = logging.getLogger(__name__)

# The key of the ASGI scope.
_KEY = "etp.token_login"
# In seconds.
_LOOK_EVERY = 30.0
_MAX_WAITING = 8


class TokenLogin:
    """A connection's login by a token.

    Attributes:
        took: how long it took to check the token in the handshake, in seconds.
    """

    __slots__ = ("_authenticator", "_grant", "_identity", "_is_over", "_timer", "_turn", "_waiting", "took")

    def __init__(self, authenticator: Authenticator, grant: Grant, scope: dict[str, Any], took: float) -> None:
        self.took = took
        self._authenticator = authenticator
        self._grant = grant
        self._identity = _identity(scope, grant.user)
        self._timer: asyncio.TimerHandle | None = None
        self._is_over = False
        self._turn = asyncio.Lock()
        self._waiting = 0

    def added_to(self, scope: dict[str, Any]) -> dict[str, Any]:
        """Return a scope with this login: that of its user, and of no session."""
        rest = {key: value for key, value in scope.items() if key != "session"}
        return {**rest, "user": self._grant.user, _KEY: self}

    @property
    def facts(self) -> dict[str, float]:
        """The facts for the client: ``expires_in``, in seconds, if the token expires."""
        left = self._grant.expires_in
        return {} if left is None else {"expires_in": round(max(0.0, left), 3)}

    def watch(self, peer: Peer) -> None:
        """Close the peer's connection when the token expires, until stop()."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        left = self._grant.expires_in
        if left is not None and not self._is_over:
            self._timer = peer.hub.loop.call_later(max(0.0, min(left, _LOOK_EVERY)), self._look, peer)

    def stop(self) -> None:
        """Watch no more: the connection has ended."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def renew(self, peer: Peer, event: Event) -> None:
        """Renew the login with the token in an ``__auth`` event, and answer that."""
        try:
            if self._waiting >= _MAX_WAITING:
                raise EventFailed("rate_limited", "Too many renewals of this connection wait.")
            self._waiting += 1
            try:
                async with self._turn:
                    await self._renew(peer, event)
            finally:
                self._waiting -= 1
            frame = encode_answer(event, json.dumps(self.facts))
        except EventFailed as failure:
            logger.info(
                "Connection %s was not renewed with a token: %s", peer.id, failure, extra=facts_of(peer, event.name)
            )
            frame = encode_failure(event, failure)
        if event.ack_id:
            peer.deliver(frame)

    async def _renew(self, peer: Peer, event: Event) -> None:
        try:
            grant = await self._authenticator.grant(_token_in(event), peer.scope)
        except NoVerdict:
            raise handler_failed("The token could not be checked. Try again.") from None
        if grant is None:
            raise EventFailed("permission_denied", "The token was not accepted.")
        # A handler may have logged the user out, or logged another one in.
        if {_identity(peer.scope, grant.user), _identity(peer.scope, peer.user)} != {self._identity}:
            raise EventFailed("permission_denied", "The token is not of the user of this connection.")
        if not self._is_over:
            self._grant = grant
            self.watch(peer)

    def _look(self, peer: Peer) -> None:
        if self._grant.has_expired:
            peer.end(TOKEN_EXPIRED)
        else:
            self.watch(peer)


def token_login_of(scope: dict[str, Any]) -> TokenLogin | None:
    """Return the login by a token in an ASGI scope; ``None`` without one."""
    return scope.get(_KEY)


def watch_login(peer: Peer) -> None:
    """Close a peer's connection when its token expires, if it logged in by one."""
    if (login := token_login_of(peer.scope)) is not None:
        login.watch(peer)


def begin_renewal(peer: Peer, event: Event, context: contextvars.Context) -> bool:
    """Begin to renew a peer's login by a token, in a context; return ``False`` without one, and for a plain client."""
    login = token_login_of(peer.scope) if peer.speaks_extensions else None
    if login is None:
        return False
    context.copy().run(peer.hub.run, login.renew(peer, event))
    return True


def _token_in(event: Event) -> str:
    try:
        content = event.json()
    except InvalidPayload:
        content = None
    token = content.get("token") if isinstance(content, dict) else None
    if not isinstance(token, str):
        raise EventFailed("invalid_payload", 'The data of __auth must be {"token": "<the token>"}.')
    if not is_token(token):
        raise EventFailed("permission_denied", "The token was not accepted.")
    return token


def _identity(scope: dict[str, Any], user: Any) -> tuple[object, object]:
    """Return what is the same for two objects of one user, and of no other: the kind and the key, tenants included."""
    user = unwrapped(user)
    scope = {**scope, "user": user}
    kind = getattr(getattr(user, "_meta", None), "concrete_model", type(user))
    return kind, identity_of(scope, user_id_of(scope))
