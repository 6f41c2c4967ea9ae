"""A handshake: accept or refuse it.

Rules kept here:

- A page of another origin, and a session that is just logging out, are refused before any hook runs.
- ``on_connect`` hooks run before the accept, one after the other, and may refuse. They have 4 s, less what the check of
  a token took.
- A refusal, by ``RejectConnection`` or Django's ``PermissionDenied``, is HTTP 403 and final. Any other exception may
  pass: it is HTTP 503, or a close with 1013 if the server can send no such status, and clients try again.
- The handshake is accepted once: by the first send or ``accept()`` of a hook, or after the last hook.
- A client that offers the extensions gets ``etp.ext.v2`` or ``etp.ext.v1`` selected, the first of these that it offers,
  and a greeting as its first frame.
- The accept brings the cookie of a session that a hook has made, or given a new key.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from typing import Any

from django.core.exceptions import PermissionDenied

from django_etp.auth.token_login import token_login_of
from django_etp.cancellation import must_pass
from django_etp.conf import get_settings
from django_etp.connections.asgi import Send, refuse_for_now
from django_etp.connections.outbox import Outbox
from django_etp.connections.peer import Peer
from django_etp.connections.scope import extensions_of
from django_etp.connections.state import CONNECTING
from django_etp.events.dispatcher import Dispatcher
from django_etp.exceptions import ConnectionClosed, RejectConnection
from django_etp.protocol.closing import Disconnect, cut_reason
from django_etp.protocol.frames import HELLO, Event, encode
from django_etp.sessions.cookies import can_set_cookie, session_cookie
from django_etp.signals import connected, notify

from .maintenance import tidy_session
from .origins import is_origin_allowed

__all__ = ["Handshake", "check_origin"]

logger = logging.getLogger(__name__)

# How long the on_connect hooks may take, in seconds: daphne drops a handshake after 5 s.
_CONNECT_LIMIT = 4.0


def check_origin(scope: dict[str, Any], allowed: str | Sequence[str] | None) -> bool:
    """Return whether the page that a handshake comes from may connect; log it if not.

    ``allowed`` is what a route allows; ``None`` for what the settings allow.
    """
    if is_origin_allowed(scope, get_settings().allowed_origins if allowed is None else allowed):
        return True
    origins = [value.decode("latin-1") for name, value in scope["headers"] if name == b"origin"]
    logger.warning(
        "Refused a handshake for %.200r from origin %.200r: %s.",
        scope.get("path"),
        ", ".join(origins),
        "pages without an origin, such as sandboxed ones, may connect only if ETP['ALLOWED_ORIGINS'] is \"*\""
        if origins == ["null"]
        else "if its pages should connect, list it in ETP['ALLOWED_ORIGINS']",
    )
    return False


class Handshake:
    """The handshake of one connection; it is dropped once the connection is open.

    Attributes:
        was_accepted: whether the client was let in. A hook may still have failed after that.
        was_rejected: whether a hook has refused it, by ``RejectConnection`` or ``PermissionDenied``.
    """

    __slots__ = (
        "_accepting",
        "_dispatcher",
        "_outbox",
        "_peer",
        "_send",
        "_subprotocols",
        "was_accepted",
        "was_rejected",
    )

    def __init__(
        self, peer: Peer, outbox: Outbox, dispatcher: Dispatcher, send: Send, subprotocols: tuple[str, ...]
    ) -> None:
        self._peer = peer
        self._outbox = outbox
        self._dispatcher = dispatcher
        self._send = send
        self._subprotocols = subprotocols
        self._accepting: asyncio.Lock | None = None
        self.was_accepted = False
        self.was_rejected = False

    async def run(self) -> bool:
        """Run the hooks, accept, and let events run; return whether the connection is open.

        If a hook fails, the handshake is refused for now, or the connection closed if the hook has accepted it.
        """
        peer = self._peer
        login = token_login_of(peer.scope)
        limit = _CONNECT_LIMIT if login is None else _CONNECT_LIMIT - login.took
        deadline = asyncio.timeout(limit)
        peer.hub.membership.begin_hooks(peer)
        try:
            async with deadline:
                await self._dispatcher.connect()
                await peer.accept()
            await self._open()
            return True
        except (RejectConnection, PermissionDenied) as refusal:
            self.was_rejected = True
            reason = refusal.reason if isinstance(refusal, RejectConnection) else refusal
            peer.end(Disconnect(4403, cut_reason(str(reason or ""))))
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            was_closed = peer.disconnect is not None
            if must_pass(error):
                peer.end(Disconnect(1011, "on_connect failed"))
                raise
            # Before any on_error hook, which may take longer than the client waits.
            await self._fail()
            if not (was_closed and isinstance(error, ConnectionClosed)):
                doing = f"its on_connect hooks, which have {limit:.3g} s" if deadline.expired() else "on_connect"
                await self._dispatcher.report(error, doing)
        finally:
            peer.hub.membership.end_hooks(peer)
        return False

    async def _fail(self) -> None:
        """Refuse the handshake for now; close the connection if the handshake was accepted."""
        peer = self._peer
        if self._outbox.state is not CONNECTING or (self._accepting is not None and self._accepting.locked()):
            peer.end(Disconnect(1011, "on_connect failed"))
            return
        peer.lose(Disconnect(1013, "on_connect failed"))  # the outbox writes nothing any more
        try:
            await refuse_for_now(peer.scope, self._send, self._selected_subprotocol())
        except Exception as error:  # once the client is gone, a server may raise anything
            logger.debug("Connection %s was gone before its refusal: %r", peer.id, error)

    async def run_without_hooks(self) -> bool:
        """Do as run() does if there are no hooks: nothing else can ask for the accept, and nothing takes time."""
        await self._accept()
        if self._peer.disconnect is not None:
            return False
        await self._open()
        return True

    async def accept(self) -> None:
        """Accept the handshake, once, however many ask for it."""
        if self._accepting is None:
            self._accepting = asyncio.Lock()
        async with self._accepting:
            if self._outbox.state is CONNECTING:
                await self._accept()

    async def _accept(self) -> None:
        peer = self._peer
        headers = await self._save_before_accept() if peer.has_unsaved else []
        if self._outbox.state is not CONNECTING:
            return  # the client has gone meanwhile, or the session
        try:
            greeting = self._greeting() if peer.speaks_extensions else ""
            await self._outbox.accept(self._selected_subprotocol(), headers, greeting)
        except Exception as error:  # once the client is gone, a server may raise anything
            logger.debug("Connection %s was gone before its accept: %.300r", peer.id, error)
            peer.lose(Disconnect(1006, "gone before the accept"))
        else:
            self.was_accepted = True

    def _greeting(self) -> str:
        login = token_login_of(self._peer.scope)
        facts = {} if login is None else login.facts
        return encode(Event(HELLO, 0, json.dumps({"id": self._peer.id, **facts})))

    def _selected_subprotocol(self) -> str | None:
        if (extensions := extensions_of(self._peer.scope)) is not None:
            return extensions
        offered = self._peer.scope.get("subprotocols", ()) if self._subprotocols else ()
        return next((name for name in offered if name in self._subprotocols), None)

    async def _save_before_accept(self) -> list[tuple[bytes, bytes]]:
        """Write what changed; return the headers with the cookie of a session that is new, or has a new key."""
        peer = self._peer
        key = peer.session_key
        try:
            await peer.save(can_create=can_set_cookie(peer.scope))
            is_new = peer.session_key not in (None, key)
            return session_cookie(peer.scope["session"]) if is_new else []
        except Exception as error:
            peer.hub.run(self._dispatcher.report(error, "saving its data"))  # the client does not wait for on_error
            return []

    async def _open(self) -> None:
        # A hook may have changed the session after an early accept.
        await self._dispatcher.save()
        tidy_session(self._peer)
        self._dispatcher.start()
        if self._peer.disconnect is None:
            notify(connected, connection=self._dispatcher.connection)
