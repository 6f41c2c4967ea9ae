"""The connection that handlers receive: its user and data, its rooms, and what can be sent to it.

Each method has an ``a``-prefixed coroutine twin: ``await`` that in an ``async def`` handler, call the bare one from a
plain ``def``. A bare call where an event loop runs raises ``SyncCallInEventLoop``.
"""

import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from django.contrib.sessions.backends.base import SessionBase

from django_etp.concurrency.bridge import arun_on, refuse_in_event_loop, run_on
from django_etp.conf import ack_timeout, get_settings
from django_etp.exceptions import ConnectionClosed
from django_etp.hub.hub import Hub
from django_etp.hub.members import ConnectionInfo
from django_etp.hub.names import user_key
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.closing import LOGGED_OUT, SESSION_ENDED, Disconnect, check_close
from django_etp.protocol.frames import PING, SUBPROTOCOL, Event, check_event_name, encode
from django_etp.serialization import to_frame, to_text
from django_etp.sessions.data import ConnectionData, from_json
from django_etp.sessions.lazy import unwrapped
from django_etp.sessions.loaded import session_key_of, shares_of_others
from django_etp.sessions.session import ConnectionSession

from .outbox import Outbox

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

__all__ = ["Connection"]

_T = TypeVar("_T")

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """Who serves a connection."""

    async def accept(self) -> None:
        """Accept the handshake, where that has not been done."""

    def begin_end(self) -> None:
        """Begin to clean up: the connection has ended."""


class Connection:
    """One client's WebSocket connection.

    Attributes:
        id: names the connection in every process; ``<hub id>.<random>``.
        scope: the ASGI scope of the handshake.
        namespace: the namespace of its consumer.
        user_id: the primary key of the user who connected, or whom a handler logged in; ``None`` for an anonymous one.
        has_data: whether anyone has ever had its data or the session in hand.
        session_key: the key of the stored session, as of the handshake or the last write; ``None`` without one.
    """

    __slots__ = (
        "__weakref__",
        "_acks",
        "_connected_at",
        "_disconnect",
        "_hub",
        "_outbox",
        "_owner",
        "_rooms",
        "_session",
        "_user",
        "has_data",
        "id",
        "namespace",
        "scope",
        "session_key",
        "user_id",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        hub: Hub,
        outbox: Outbox,
        *,
        namespace: str,
        owner: Owner,
    ) -> None:
        self.scope = scope
        self.namespace = namespace
        self.id = hub.new_connection_id()
        self.user_id: Any = _user_id_of(scope)
        self.session_key = session_key_of(scope)
        self.has_data = False
        self._user = scope.get("user")
        self._session: ConnectionSession | None = None
        self._hub = hub
        self._outbox = outbox
        self._owner = owner
        # Most connections are never asked anything, and never touch their data: made on first use.
        self._acks: PendingAcks | None = None
        self._connected_at = time.time()
        self._disconnect: Disconnect | None = None
        self._rooms: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.id} namespace={self.namespace!r}>"

    @property
    def user(self) -> "AbstractBaseUser | AnonymousUser":
        """The user of the handshake's session; anonymous where no auth middleware is around the consumer."""
        # Here, since asgi.py imports the consumer, and models.py may import this class, before the models are loaded.
        from django.contrib.auth.models import AnonymousUser

        user: AbstractBaseUser | AnonymousUser | None = self.scope.get("user")
        return AnonymousUser() if user is None else user

    @property
    def data(self) -> ConnectionData:
        """A dict for what belongs to this connection, with str keys and JSON values.

        It is kept in the Django session and written after the hook or handler that changed it, before its answer goes
        out; views see it at ``request.session["etp"][connection.id]``. It is removed when the connection ends.
        """
        return self._own_session().data

    @data.setter
    def data(self, values: Mapping[str, Any]) -> None:
        data = self.data
        if values is not data:  # as after |=
            new = ConnectionData()
            new.update(values)
            data.clear()
            data.update(new)

    @property
    def session(self) -> SessionBase | None:
        """The user's Django session; ``None`` where no session middleware is around the consumer.

        It is what the handshake loaded. Keys that a handler changes are written after it, into the session as it then
        is; what others wrote stays.
        """
        session = self._own_session().session
        return self.scope.get("session") if session is None else session

    @property
    def rooms(self) -> frozenset[str]:
        """The names of the rooms it is in; after its end, of those it was in."""
        return self._hub.membership.rooms_of(self.id) if self._rooms is None else self._rooms

    @property
    def is_accepted(self) -> bool:
        """Whether the handshake was accepted, and the connection not closed since."""
        return self._outbox.is_open and self._disconnect is None

    @property
    def info(self) -> ConnectionInfo:
        """What any process may know of this connection."""
        return ConnectionInfo(
            self.id, self.user_id, tuple(sorted(self.rooms)), datetime.fromtimestamp(self._connected_at, UTC)
        )

    def to_row(self) -> tuple[str, int | str | None, float]:
        """Return the same as plain values, without the rooms; the time in seconds since 1970."""
        user_id = self.user_id if self.user_id is None or isinstance(self.user_id, int) else str(self.user_id)
        return self.id, user_id, self._connected_at

    async def aaccept(self) -> None:
        """Accept the handshake now, inside ``on_connect``; otherwise it is accepted once the hooks have ended.

        Raises:
            ConnectionClosed: the connection is closed or refused.
        """
        await self._here(self._accept_now)

    def accept(self) -> None:
        """See aaccept()."""
        self._from_thread("accept", self._accept_now)

    async def aemit(self, event: str, data: object = None) -> None:
        """Send an event that wants no answer. Inside ``on_connect`` this accepts the handshake first.

        ``data`` is sent as it is where it is str, as JSON otherwise, not at all where it is ``None``. Waits while the
        client is far behind in reading.

        Raises:
            ConnectionClosed: the connection is closed.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON.
        """
        await self._here(self._emit, to_frame(event, data), is_patient=True)

    def emit(self, event: str, data: object = None) -> None:
        """See aemit()."""
        # In this thread, where the JSON encoder may ask the ORM.
        self._from_thread("emit", self._emit, to_frame(event, data), is_patient=True)

    async def aemit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """Send an event and return the answer to it.

        ``timeout`` is in seconds, the setting ``ACK_TIMEOUT`` by default.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection is closed, or closed before the answer came.
            EventFailed: a peer that speaks the extensions says that the event failed there.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON.
            TypeError: ``timeout`` is no number.
        """
        seconds = ack_timeout(timeout)
        check_event_name(event)
        return await self._here(self._accept_and_ask, event, to_text(data), seconds, timeout=seconds)

    def emit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """See aemit_with_ack()."""
        seconds = ack_timeout(timeout)
        check_event_name(event)
        return self._from_thread("emit_with_ack", self._accept_and_ask, event, to_text(data), seconds, timeout=seconds)

    async def aping(self, *, timeout: float | None = None) -> float:
        """Return how long the client took to answer a ping, in seconds. See aemit_with_ack() for what is raised."""
        seconds = ack_timeout(timeout)
        return await self._here(self._ping, seconds, timeout=seconds)

    def ping(self, *, timeout: float | None = None) -> float:
        """See aping()."""
        seconds = ack_timeout(timeout)
        return self._from_thread("ping", self._ping, seconds, timeout=seconds)

    async def ajoin(self, *rooms: str) -> None:
        """Join rooms; it may be in them already.

        Raises:
            ConnectionClosed: the connection is closed.
            InvalidRoomName: a name is no room name; nothing was joined.
        """
        await self._here(self._join, rooms)

    def join(self, *rooms: str) -> None:
        """See ajoin()."""
        self._from_thread("join", self._join, rooms)

    async def aleave(self, *rooms: str) -> None:
        """Leave rooms; it need not be in them."""
        await self._here(self._hub.leave, self, rooms)

    def leave(self, *rooms: str) -> None:
        """See aleave()."""
        self._from_thread("leave", self._hub.leave, self, rooms)

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection behind what was sent before; once closed, this does nothing.

        Inside ``on_connect``, before the accept, it refuses the handshake with HTTP 403.

        Raises:
            InvalidCloseCode: RFC 6455 does not let an endpoint send this code, or the reason is over 123 bytes.
        """
        check_close(code, reason)
        await self._here(self._close, Disconnect(code, reason))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """See aclose()."""
        check_close(code, reason)
        self._from_thread("close", self._close, Disconnect(code, reason))

    # What the hub and the consumer call, on the connection's own loop

    @property
    def has_unsaved(self) -> bool:
        """Whether a handler may have changed the data or the session, or logged somebody in or out."""
        is_touched = self._session is not None and self._session.is_touched
        return is_touched or self.has_other_user or self._has_other_key

    @property
    def was_logged_out(self) -> bool:
        """Whether a handler has logged its user out."""
        return self.user_id is not None and not getattr(self.scope.get("user"), "is_authenticated", True)

    @property
    def has_other_user(self) -> bool:
        """Whether a handler has logged somebody in or out since the last write, or put a user into the scope."""
        return self.scope.get("user") is not self._user

    async def save(self, *, can_create: bool = False) -> None:
        """Write what a handler changed in the data or the session; see ConnectionSession.save()."""
        user = self.scope.get("user")
        if self._session is not None or self._has_other_key:
            session = self._own_session()
            lives = await session.save(can_create=can_create)
            self.session_key = session.key
            if not lives:
                self._session_is_gone()
        await self.follow_user()
        self._user = user

    async def follow_user(self) -> None:
        """Take note where a handler has logged in another user, or put one into the scope: it is that user's now."""
        user_id = _user_id_of(self.scope)
        if user_id is None or user_id == self.user_id:
            return  # who was logged out is its user until the check of those closes it
        self.user_id = user_id
        await self._hub.change_user(self, user_id)

    def mark_saved(self) -> None:
        """Take note that no handler runs that could change what was saved."""
        if self._session is not None:
            self._session.mark_saved()

    def read_data(self) -> str:
        """Return its data as JSON."""
        return self._own_session().read()

    async def change_data(self, values: str, remove: Iterable[str]) -> str:
        """Set keys of its data to those in a JSON object, remove others, save it, and return it as JSON."""
        data = self.data
        data.update(from_json(values))
        for key in remove:
            data.pop(key, None)
        if self._outbox.is_open:  # else it is written before the accept
            await self.save()
        return data.to_json()

    def tidy_session(self) -> None:
        """Remove what connections left behind in its session that are gone; watch for those just gone."""
        if self.session_key is not None and (others := shares_of_others(self.scope["session"])):
            self._own_session().watch_others()
            may_live = self._hub.living()
            if not all(may_live(id) for id in others):
                self._hub.run(self._restore())

    @property
    def watched_session(self) -> str | None:
        """The key of the stored session that is to be looked after; ``None`` where there is none."""
        return None if self._session is None else self._session.watched_key

    async def look_after(self, shares: dict[str, Any] | None) -> None:
        """Compare what is stored in its session, by connection id, with what was written, and write that again.

        ``None`` says that the session is gone.
        """
        if shares is None or not self._own_session().is_intact(shares):
            await self._restore()

    async def forget_data(self) -> None:
        """Remove the data from the session: the connection has ended."""
        if self._session is not None:
            await self._session.end()

    async def discard_session(self) -> None:
        """Delete the session if it was made for the data of connections, and the last of that is removed."""
        if self._session is not None:
            await self._session.discard()

    @property
    def _has_other_key(self) -> bool:
        return session_key_of(self.scope) != self.session_key

    def _own_session(self) -> ConnectionSession:
        if self._session is None:
            session = self.scope.get("session")
            is_ended = self._disconnect is not None
            self.has_data = True
            self._session = ConnectionSession(
                self.id, session, self.session_key, self._hub.run, self._hub.living, is_ended=is_ended
            )
        return self._session

    async def _restore(self) -> None:
        if self._disconnect is not None:
            return
        session = self._own_session()
        try:
            if not await session.restore():
                self._session_is_gone()
        except Exception:
            logger.exception("Connection %s could not look after its data in the session.", self.id)

    def _session_is_gone(self) -> None:
        # An anonymous visitor's data lives on in memory; a user has logged out, or has a session of another key now.
        if self.user_id is not None and get_settings().close_on_logout:
            self.end(LOGGED_OUT if self.was_logged_out else SESSION_ENDED)

    def deliver(self, frame: str) -> None:
        """Send a ready-made frame; it never waits, and is dropped where the connection has ended."""
        self._outbox.write(frame)

    def answer(self, frame: str) -> Coroutine[Any, Any, None] | None:
        """Send a ready-made answer, or drop it where the connection has ended; return what is to be awaited, if any."""
        return self._outbox.begin(frame)

    @property
    def speaks_extensions(self) -> bool:
        """Whether the client offered ``etp.ext.v1``: it is greeted, and told why an event failed."""
        return SUBPROTOCOL in self.scope.get("subprotocols", ())

    def settle(self, answer: Event) -> None:
        """Pass on the client's answer, or the failure in place of one; drop it if no question waits for it."""
        if self._acks is not None:
            self._acks.settle(answer)

    async def ask(self, event: str, data: object, timeout: float) -> Event:
        """Send an event and return the answer to it; before the accept it waits. See aemit_with_ack()."""
        return await self._ask(lambda ack_id: to_frame(event, data, ack_id), timeout)

    def end(self, disconnect: Disconnect, *, drop: bool = False) -> None:
        """Begin the end: send a close (``drop``: instead of what waits) unless the client is gone already."""
        if self._disconnect is not None:
            return
        self._take_leave(disconnect)
        self._outbox.close(disconnect.code, disconnect.reason, drop=drop)
        self._leave_owner()

    def lose(self, disconnect: Disconnect) -> None:
        """Take note that the client is gone."""
        if self._disconnect is None:
            self._take_leave(disconnect)
            self._outbox.abandon()
            self._leave_owner()

    @property
    def disconnect(self) -> Disconnect | None:
        """How the connection ended; ``None`` while it lives."""
        return self._disconnect

    def _take_leave(self, disconnect: Disconnect) -> None:
        self._disconnect = disconnect
        self._rooms = self._hub.membership.rooms_of(self.id)
        if self._acks is not None:
            self._acks.close()

    def _leave_owner(self) -> None:
        self._owner.begin_end()
        # It has this connection, too: in a circle, both and all that they hold would wait for the garbage collector.
        del self._owner

    async def _accept_now(self) -> None:
        self._refuse_closed()
        if not self._outbox.is_open:
            await self._owner.accept()
            self._refuse_closed()

    async def _emit(self, frame: str) -> None:
        await self._accept_now()
        await self._outbox.send(frame)

    async def _accept_and_ask(self, event: str, data: str, timeout: float) -> Event:
        await self._accept_now()
        return await self.ask(event, data, timeout)

    async def _ask(self, frame: Callable[[int], str], timeout: float) -> Event:
        self._refuse_closed()
        if self._acks is None:
            self._acks = PendingAcks()
        acks = self._acks
        ack_id, future = acks.open()
        try:
            self._outbox.write(frame(ack_id))
        except BaseException:
            acks.discard(ack_id)
            raise
        return await acks.wait(ack_id, future, timeout)

    async def _ping(self, timeout: float) -> float:
        await self._accept_now()
        start = time.perf_counter()
        await self._ask(lambda ack_id: encode(Event(PING, ack_id)), timeout)
        return time.perf_counter() - start

    async def _join(self, rooms: tuple[str, ...]) -> None:
        self._refuse_closed()  # its cleanup may not have begun yet
        await self._hub.join(self, rooms)

    async def _close(self, disconnect: Disconnect) -> None:
        self.end(disconnect)

    def _refuse_closed(self) -> None:
        if self._disconnect is not None:
            raise ConnectionClosed(f"Connection {self.id} is closed ({self._disconnect.code}).")

    async def _here(self, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, **limits: Any) -> _T:
        return await arun_on(self._hub.loop, function, *args, **limits)

    def _from_thread(
        self, name: str, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, **limits: Any
    ) -> _T:
        refuse_in_event_loop(name)
        return run_on(self._hub.loop, function, *args, **limits)


def _user_id_of(scope: dict[str, Any]) -> Any:
    user = unwrapped(scope.get("user"))
    return user_key(user) if getattr(user, "is_authenticated", True) else None
