"""The connection that handlers receive: its user and data, its rooms, and what can be sent to it.

Each method has an ``a``-prefixed coroutine twin: ``await`` that in an ``async def`` handler, call the bare one from a
plain ``def``. A bare call on a thread with a running event loop raises ``SyncCallInEventLoop``.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.sessions.backends.base import SessionBase

from django_etp.concurrency.bridge import arun_on, refuse_in_event_loop, run_on
from django_etp.conf import ack_timeout
from django_etp.protocol.closing import check_close
from django_etp.protocol.frames import Event
from django_etp.schemas.outgoing import EventName
from django_etp.serialization import to_frame, to_parts
from django_etp.sessions.data import ConnectionData

from .peer import Peer

if TYPE_CHECKING:
    # django-stubs put the user model of the project in place of _User.
    from django.contrib.auth.models import AnonymousUser, _User

__all__ = ["Connection"]

_T = TypeVar("_T")


class Connection:
    """One client's WebSocket connection, for handlers and hooks; to be used from any thread or event loop."""

    __slots__ = ("__weakref__", "_peer")

    def __init__(self, peer: Peer) -> None:
        self._peer = peer

    def __repr__(self) -> str:
        return f"<Connection {self.id} namespace={self.namespace!r}>"

    @property
    def id(self) -> str:
        """The name of the connection in every process, for ``rooms.emit_to()`` and others."""
        return self._peer.id

    @property
    def scope(self) -> dict[str, Any]:
        """The ASGI scope of the handshake."""
        return self._peer.scope

    @property
    def namespace(self) -> str:
        """The namespace of its consumer."""
        return self._peer.namespace

    @property
    def user(self) -> "_User | AnonymousUser":
        """The user of the handshake's session; anonymous if no auth middleware is around the consumer."""
        return self._peer.user

    @property
    def user_id(self) -> Any:
        """The primary key of the user, without a query; ``None`` for an anonymous one."""
        return self._peer.user_id

    @property
    def session(self) -> SessionBase | None:
        """The user's Django session; ``None`` if no session middleware is around the consumer.

        It is as the handshake loaded it. The keys that a handler changes are written when it has ended, into the stored
        session as it then is; other changes to that stay.
        """
        session = self._peer.own_share().session
        return self.scope.get("session") if session is None else session

    @property
    def data(self) -> ConnectionData:
        """A dict for what belongs to this connection, with str keys and JSON values.

        It is kept in the Django session and written when the hook or handler that changed it has ended, before the
        answer goes out. Views see it at ``request.session["etp"][connection.id]``. It is removed when the connection
        ends.
        """
        return self._peer.own_share().data

    @data.setter
    def data(self, values: Mapping[str, Any]) -> None:
        data = self.data
        if values is not data:  # as after |=
            new = ConnectionData()
            new.update(values)
            data.clear()
            data.update(new)

    @property
    def rooms(self) -> frozenset[str]:
        """The names of the rooms it is in; after its end, of those it was in."""
        return self._peer.rooms

    async def aaccept(self) -> None:
        """Accept the handshake now, inside ``on_connect``; otherwise it is accepted once the hooks have ended.

        Raises:
            ConnectionClosed: the connection is closed or refused.
        """
        await arun_on(self._peer.hub.loop, self._peer.accept)

    def accept(self) -> None:
        """See aaccept()."""
        self._from_thread("accept", self._peer.accept)

    async def aemit(self, event: EventName[_T], data: _T | None = None) -> None:
        """Send an event that wants no answer. Inside ``on_connect`` this accepts the handshake first.

        ``event`` is a name, or an event of ``outgoing()``, whose type writes the data. Otherwise ``data`` is sent as it
        is if it is str, as JSON otherwise, and not at all if it is ``None``. Waits while the client is far behind in
        reading.

        Raises:
            ConnectionClosed: the connection is closed.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON, or does not fit the type of the event.
        """
        await arun_on(self._peer.hub.loop, self._peer.emit, to_frame(event, data), is_patient=True)

    def emit(self, event: EventName[_T], data: _T | None = None) -> None:
        """See aemit()."""
        # The data becomes JSON in this thread: here the encoder may use the ORM.
        self._from_thread("emit", self._peer.emit, to_frame(event, data), is_patient=True)

    async def aemit_with_ack(
        self, event: EventName[_T], data: _T | None = None, *, timeout: float | None = None
    ) -> Event:
        """Send an event and return the answer to it.

        ``timeout`` is in seconds, the setting ``ACK_TIMEOUT`` by default.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection is closed, or closed before the answer came.
            EventFailed: the client speaks the extensions, and reports that the event failed there.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON, or does not fit the type of the event.
            TypeError: ``timeout`` is no number.
        """
        seconds = ack_timeout(timeout)
        peer, (name, text) = self._peer, to_parts(event, data)
        return await arun_on(peer.hub.loop, peer.emit_with_ack, name, text, seconds, timeout=seconds)

    def emit_with_ack(self, event: EventName[_T], data: _T | None = None, *, timeout: float | None = None) -> Event:
        """See aemit_with_ack()."""
        seconds = ack_timeout(timeout)
        name, text = to_parts(event, data)
        return self._from_thread("emit_with_ack", self._peer.emit_with_ack, name, text, seconds, timeout=seconds)

    async def aping(self, *, timeout: float | None = None) -> float:
        """Return how long the client took to answer a ping, in seconds. See aemit_with_ack() for what is raised."""
        seconds = ack_timeout(timeout)
        return await arun_on(self._peer.hub.loop, self._peer.ping, seconds, timeout=seconds)

    def ping(self, *, timeout: float | None = None) -> float:
        """See aping()."""
        seconds = ack_timeout(timeout)
        return self._from_thread("ping", self._peer.ping, seconds, timeout=seconds)

    async def ajoin(self, *rooms: str) -> None:
        """Join rooms; it may be in them already.

        Raises:
            ConnectionClosed: the connection is closed.
            InvalidRoomName: a name is no room name, or it is reserved; nothing was joined.
            TooManyRooms: it would be in more rooms than the setting ``MAX_ROOMS`` allows; nothing was joined.
        """
        await arun_on(self._peer.hub.loop, self._peer.join, rooms)

    def join(self, *rooms: str) -> None:
        """See ajoin()."""
        self._from_thread("join", self._peer.join, rooms)

    async def aleave(self, *rooms: str) -> None:
        """Leave rooms; it need not be in them."""
        await arun_on(self._peer.hub.loop, self._peer.hub.leave, self._peer, rooms)

    def leave(self, *rooms: str) -> None:
        """See aleave()."""
        self._from_thread("leave", self._peer.hub.leave, self._peer, rooms)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection behind what was sent before; once closed, this does nothing.

        Inside ``on_connect``, before the accept, it refuses the handshake with HTTP 403.

        Raises:
            InvalidCloseCode: RFC 6455 does not let an endpoint send this code, or the reason is over 123 bytes.
        """
        check_close(code, reason)
        await arun_on(self._peer.hub.loop, self._peer.aclose, code, reason)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """See aclose()."""
        check_close(code, reason)
        self._from_thread("close", self._peer.aclose, code, reason)

    def _from_thread(
        self, name: str, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, **limits: Any
    ) -> _T:
        refuse_in_event_loop(name)
        return run_on(self._peer.hub.loop, function, *args, **limits)
