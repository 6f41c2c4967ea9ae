"""The client at the other end of a connection, as the server, the hub and the dispatcher of events use it.

Rules kept here:

- A peer belongs to one event loop. Its methods are called on that loop; ``Connection`` is the way there from elsewhere.
- The connection ends once, by end() or lose(). From then on nothing is sent, and what waits for an answer fails.
- A peer holds no handle. It leaves its owner when the connection ends, so that neither keeps the other in memory.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from django_etp import tenancy
from django_etp.conf import get_settings
from django_etp.exceptions import ConnectionClosed
from django_etp.hub.hub import Hub
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.closing import LOGGED_OUT, SESSION_ENDED, Disconnect, check_close
from django_etp.protocol.frames import PING, Event, encode
from django_etp.protocol.rooms import in_room
from django_etp.serialization import to_frame
from django_etp.sessions.data import from_json
from django_etp.sessions.loaded import session_key_of
from django_etp.sessions.session import ConnectionSession

from .outbox import Outbox
from .scope import extensions_of, identity_of, tenant_of, user_id_of
from .state import CONNECTING, OPEN

if TYPE_CHECKING:
    from django.contrib.auth.models import AnonymousUser, _User

__all__ = ["Peer"]


class Owner(Protocol):
    """The server's side of a connection: its lifecycle."""

    async def accept(self) -> None:
        """Accept the handshake, unless that has been done."""

    def begin_end(self) -> None:
        """Begin to clean up: the connection has ended."""


class Peer:
    """The client at the other end of one connection.

    Attributes:
        id: names the connection in every process; ``<hub id>.<random>``.
        scope: the ASGI scope of the handshake.
        namespace: the namespace of its consumer.
        hub: the hub that it is a member of.
        outbox: writes the frames to the client.
        known_user: the user of the scope, as of the handshake or the last write.
        user_id: the primary key of the user who connected or was logged in by a handler; ``None`` if anonymous.
        session_key: the key of the stored session, as of the handshake or the last write; ``None`` without one.
        share: the connection's share of the session; ``None`` until the data or the session is first used.
        disconnect: how the connection ended; ``None`` before that.
    """

    __slots__ = (
        "_acks",
        "_connected_at",
        "_owner",
        "_rooms",
        "disconnect",
        "hub",
        "id",
        "known_user",
        "namespace",
        "outbox",
        "scope",
        "session_key",
        "share",
        "user_id",
    )

    def __init__(self, scope: dict[str, Any], hub: Hub, outbox: Outbox, *, namespace: str, owner: Owner) -> None:
        self.scope = scope
        self.namespace = namespace
        self.hub = hub
        self.id = hub.new_connection_id()
        self.user_id: Any = user_id_of(scope)
        self.session_key = session_key_of(scope)
        self.disconnect: Disconnect | None = None
        self.known_user = scope.get("user")
        self.outbox = outbox
        self._owner = owner
        self._acks: PendingAcks | None = None  # as the share, made on first use: most peers need neither
        self.share: ConnectionSession | None = None
        self._connected_at = time.time()
        self._rooms: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"<Peer {self.id} namespace={self.namespace!r}>"

    @property
    def rooms(self) -> frozenset[str]:
        """The names of the rooms it is in; after the end of the connection, of those it was in."""
        return self.hub.membership.rooms_of(self.id) if self._rooms is None else self._rooms

    @property
    def is_accepted(self) -> bool:
        """Whether the handshake was accepted, and the connection has not been closed since."""
        return self.outbox.state is OPEN

    @property
    def is_far_behind(self) -> bool:
        """See Member."""
        return self.outbox.is_far_behind

    @property
    def speaks_extensions(self) -> bool:
        """Whether the client offered the extensions: it gets a greeting, and failures with their codes."""
        return extensions_of(self.scope) is not None

    def to_row(self) -> tuple[str, int | str | None, float]:
        """Return its id, its user's id and when it connected, in seconds since 1970, as plain values."""
        user_id = self.user_id if self.user_id is None or isinstance(self.user_id, int) else str(self.user_id)
        return self.id, user_id, self._connected_at

    def deliver(self, frame: str) -> None:
        """Send a ready-made frame. Never waits; after the end of the connection the frame is dropped."""
        self.outbox.write(frame)

    async def accept(self) -> None:
        """Accept the handshake, unless that has been done.

        Raises:
            ConnectionClosed: the connection is closed or refused.
        """
        self._refuse_closed()
        if self.outbox.state is CONNECTING:
            await self._owner.accept()
            self._refuse_closed()

    async def emit(self, frame: str) -> None:
        """Accept the handshake, then send a ready-made frame; wait while the client is far behind in reading.

        Raises:
            ConnectionClosed: the connection is closed.
        """
        if self.outbox.state is not OPEN:
            await self.accept()
        if (writing := self.outbox.begin(frame)) is not None:
            await writing
            self._refuse_closed()  # it may have ended meanwhile

    async def emit_with_ack(self, event: str, data: str, timeout: float) -> Event:
        """Accept the handshake, then ask(); see ``Connection.aemit_with_ack()``."""
        await self.accept()
        return await self.ask(event, data, timeout)

    async def ask(self, event: str, data: object, timeout: float, room: str | None = None) -> Event:
        """Send an event, maybe inside a room, and return the answer. Before the accept, wait for that."""
        return await self._ask(lambda ack_id: in_room(room, to_frame(event, data, ack_id)), timeout)

    async def ping(self, timeout: float) -> float:
        """Accept the handshake, then return how long the client took to answer a ping, in seconds."""
        await self.accept()
        start = time.perf_counter()
        await self._ask(lambda ack_id: encode(Event(PING, ack_id)), timeout)
        return time.perf_counter() - start

    def settle(self, answer: Event) -> None:
        """Pass the client's answer, or the failure in place of one, to its question; drop it if none is waiting."""
        if self._acks is not None:
            self._acks.settle(answer)

    @property
    def is_asking(self) -> bool:
        """Whether a handler waits for an answer of the client."""
        return bool(self._acks)

    async def _ask(self, frame: Callable[[int], str], timeout: float) -> Event:
        self._refuse_closed()
        if (acks := self._acks) is None:
            acks = self._acks = PendingAcks()
        ack_id, future = acks.open()
        try:
            self.outbox.write(frame(ack_id))
            return await acks.wait(ack_id, future, timeout)
        finally:
            acks.discard(ack_id)

    async def join(self, rooms: tuple[str, ...]) -> None:
        """Join rooms. See ``Connection.ajoin()``."""
        self._refuse_closed()  # its cleanup may not have begun yet
        await self.hub.join(self, rooms)

    # The end

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection. See ``Connection.aclose()``."""
        check_close(code, reason)
        self.end(Disconnect(code, reason))

    def end(self, disconnect: Disconnect, *, drop: bool = False) -> None:
        """Close the connection behind the frames that wait (``drop``: in place of them), unless it has ended."""
        if self.disconnect is None:
            self._record_end(disconnect)
            self.outbox.close(disconnect.code, disconnect.reason, drop=drop)
            self._leave_owner()

    def lose(self, disconnect: Disconnect) -> None:
        """Record that the client is gone, unless the connection has ended."""
        if self.disconnect is None:
            self._record_end(disconnect)
            self.outbox.abandon()
            self._leave_owner()

    def _record_end(self, disconnect: Disconnect) -> None:
        self.disconnect = disconnect
        self._rooms = self.hub.membership.rooms_of(self.id)
        if self._acks is not None:
            self._acks.close()

    def _leave_owner(self) -> None:
        self._owner.begin_end()
        del self._owner  # it holds this peer

    def _refuse_closed(self) -> None:
        if self.disconnect is not None:
            raise ConnectionClosed(f"Connection {self.id} is closed ({self.disconnect.code}).")

    # Its user, its session and its data

    @property
    def user(self) -> "_User | AnonymousUser":
        """See ``Connection.user``."""
        # Imported here: models.py may import this module, before the models are loaded.
        from django.contrib.auth.models import AnonymousUser

        user: _User | AnonymousUser | None = self.scope.get("user")
        return AnonymousUser() if user is None else user

    @property
    def has_other_user(self) -> bool:
        """Whether a handler has logged a user in or out since the last write, or put a user into the scope."""
        return self.scope.get("user") is not self.known_user

    @property
    def was_logged_out(self) -> bool:
        """Whether a handler has logged its user out."""
        return self.user_id is not None and not getattr(self.scope.get("user"), "is_authenticated", True)

    async def follow_user(self) -> None:
        """Make the connection another user's, if a handler has logged one in or put one into the scope."""
        user_id = user_id_of(self.scope)
        if user_id is None or (user_id == self.user_id and not tenancy.has_tenants()):
            return  # a user who was logged out keeps the connection until the check of those closes it
        self.user_id = user_id
        await self.hub.change_user(self, identity_of(self.scope, user_id))

    def own_share(self) -> ConnectionSession:
        """Return the connection's share of the session, made on first use."""
        if self.share is None:
            session, hub, is_ended = self.scope.get("session"), self.hub, self.disconnect is not None
            run = tenancy.run_in(tenant_of(self.scope), hub.run)
            self.share = ConnectionSession(self.id, session, self.session_key, run, hub.living, is_ended=is_ended)
        return self.share

    @property
    def has_unsaved(self) -> bool:
        """Whether a handler may have changed the data or the session, or logged a user in or out."""
        is_touched = self.share is not None and self.share.is_touched
        return is_touched or self.has_other_user or session_key_of(self.scope) != self.session_key

    async def save(self, *, can_create: bool = False) -> None:
        """Write what a handler changed in the data or the session; see ConnectionSession.save()."""
        user = self.scope.get("user")
        if self.share is not None or session_key_of(self.scope) != self.session_key:
            share = self.own_share()
            lives = await share.save(can_create=can_create)
            self.session_key = share.key
            if not lives:
                self.close_without_session()
        await self.follow_user()
        self.known_user = user

    def close_without_session(self) -> None:
        """Close a user's connection whose session is gone; an anonymous visitor's data lives on in memory."""
        if self.user_id is not None and get_settings().close_on_logout:
            self.end(LOGGED_OUT if self.was_logged_out else SESSION_ENDED)

    def read_data(self) -> str:
        """Return the data as JSON."""
        return self.own_share().read()

    async def change_data(self, values: str, remove: Iterable[str]) -> str:
        """Set keys of the data to those in a JSON object, remove others, save it, and return it as JSON."""
        data = self.own_share().data
        data.change(from_json(values), remove)
        if self.is_accepted:  # the accept writes it otherwise
            await self.save()
        return data.to_json()
