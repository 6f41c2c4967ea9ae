"""The connection that handlers receive: its user and data, its rooms, and what can be sent to it.

Each method has an ``a``-prefixed coroutine twin: ``await`` that in an ``async def`` handler, call the bare one from a
plain ``def``. A bare call where an event loop runs raises ``SyncCallInEventLoop``.
"""

import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from django.utils import timezone

from .acks import PendingAcks
from .closing import Disconnect, check_close
from .conf import get_settings
from .exceptions import ConnectionClosed
from .gate import Gate
from .hub import Hub
from .loops import arun_on, refuse_in_event_loop, run_on
from .members import ConnectionInfo
from .payload import to_frame
from .protocol import PING, Event, encode

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser
    from django.contrib.sessions.backends.base import SessionBase

__all__ = ["Connection"]

_T = TypeVar("_T")


class Connection:
    """One client's WebSocket connection.

    Attributes:
        id: names the connection in every process; ``<hub id>.<random>``.
        scope: the ASGI scope of the handshake.
        data: a dict for what belongs to this connection.
        namespace: the namespace of its consumer.
    """

    __slots__ = (
        "__weakref__",
        "_accept",
        "_acks",
        "_connected_at",
        "_disconnect",
        "_gate",
        "_hub",
        "_on_close",
        "_rooms",
        "data",
        "id",
        "namespace",
        "scope",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        hub: Hub,
        gate: Gate,
        *,
        namespace: str,
        accept: Callable[[], Coroutine[Any, Any, None]],
        on_close: Callable[[], None],
    ) -> None:
        self.scope = scope
        self.namespace = namespace
        self.id = hub.new_connection_id()
        self.data: dict[str, Any] = {}
        self._hub = hub
        self._gate = gate
        self._acks = PendingAcks()
        self._accept = accept
        self._on_close = on_close
        self._connected_at = timezone.now()
        self._disconnect: Disconnect | None = None
        self._rooms: frozenset[str] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.id} namespace={self.namespace!r}>"

    @property
    def user(self) -> "AbstractBaseUser | AnonymousUser":
        """The user of the handshake's session; anonymous where no auth middleware is around the consumer."""
        # Here, since asgi.py imports the consumer, and models.py may import this class, before the models are loaded.
        from django.contrib.auth.models import AnonymousUser

        user: AbstractBaseUser | AnonymousUser = self.scope.get("user") or AnonymousUser()
        return user

    @property
    def session(self) -> "SessionBase | None":
        """The user's Django session; ``None`` where no session middleware is around the consumer."""
        return self.scope.get("session")

    @property
    def rooms(self) -> frozenset[str]:
        """The names of the rooms it is in; after its end, of those it was in."""
        return self._hub.rooms_of(self.id) if self._rooms is None else self._rooms

    @property
    def is_accepted(self) -> bool:
        """Whether the handshake was accepted, and the connection not closed since."""
        return self._gate.is_open and self._disconnect is None

    @property
    def info(self) -> ConnectionInfo:
        """What any process may know of this connection."""
        return ConnectionInfo(self.id, getattr(self.user, "pk", None), tuple(sorted(self.rooms)), self._connected_at)

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
        await self._here(self._emit, event, data)

    def emit(self, event: str, data: object = None) -> None:
        """See aemit()."""
        self._from_thread("emit", self._emit, event, data)

    async def aemit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """Send an event and return the answer to it.

        ``timeout`` is in seconds, the setting ``ACK_TIMEOUT`` by default.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection is closed, or closed before the answer came.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON.
        """
        seconds = _seconds(timeout)
        return await self._here(self._accept_and_ask, event, data, seconds, timeout=seconds)

    def emit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """See aemit_with_ack()."""
        seconds = _seconds(timeout)
        return self._from_thread("emit_with_ack", self._accept_and_ask, event, data, seconds, timeout=seconds)

    async def aping(self, *, timeout: float | None = None) -> float:
        """Return how long the client took to answer a ping, in seconds. See aemit_with_ack() for what is raised."""
        seconds = _seconds(timeout)
        return await self._here(self._ping, seconds, timeout=seconds)

    def ping(self, *, timeout: float | None = None) -> float:
        """See aping()."""
        seconds = _seconds(timeout)
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

    def deliver(self, frame: str) -> None:
        """Send a ready-made frame; it never waits, and is dropped where the connection has ended."""
        self._gate.write(frame)

    async def answer(self, frame: str) -> None:
        """Send a ready-made answer; dropped where the connection has ended."""
        if self._disconnect is None:
            await self._gate.send(frame)

    def resolve(self, answer: Event) -> None:
        """Take an answer of the client; one that nobody waits for is dropped."""
        self._acks.resolve(answer)

    async def ask(self, event: str, data: object, timeout: float) -> Event:
        """Send an event and return the answer to it; before the accept it waits. See aemit_with_ack()."""
        return await self._ask(lambda ack_id: to_frame(event, data, ack_id), timeout)

    def end(self, disconnect: Disconnect, *, drop: bool = False) -> None:
        """Begin the end: send a close (``drop``: instead of what waits) unless the client is gone already."""
        if self._disconnect is not None:
            return
        self._disconnect = disconnect
        self._rooms = self._hub.rooms_of(self.id)
        self._acks.close()
        self._gate.close(disconnect.code, disconnect.reason, drop=drop)
        self._on_close()

    def lose(self, disconnect: Disconnect) -> None:
        """Take note that the client is gone."""
        if self._disconnect is None:
            self._disconnect = disconnect
            self._rooms = self._hub.rooms_of(self.id)
            self._acks.close()
            self._gate.abandon()
            self._on_close()

    @property
    def disconnect(self) -> Disconnect | None:
        """How the connection ended; ``None`` while it lives."""
        return self._disconnect

    async def _accept_now(self) -> None:
        self._refuse_closed()
        if not self._gate.is_open:
            await self._accept()
            self._refuse_closed()

    async def _emit(self, event: str, data: object) -> None:
        frame = to_frame(event, data)
        await self._accept_now()
        await self._gate.send(frame)

    async def _accept_and_ask(self, event: str, data: object, timeout: float) -> Event:
        await self._accept_now()
        return await self.ask(event, data, timeout)

    async def _ask(self, frame: Callable[[int], str], timeout: float) -> Event:
        ack_id, future = self._acks.open()
        try:
            self._gate.write(frame(ack_id))
        except BaseException:
            self._acks.discard(ack_id)
            raise
        return await self._acks.wait(ack_id, future, timeout)

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

    async def _here(self, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, timeout: float = 0.0) -> _T:
        return await arun_on(self._hub.loop, function, *args, timeout=timeout)

    def _from_thread(
        self, name: str, function: Callable[..., Coroutine[Any, Any, _T]], *args: Any, timeout: float = 0.0
    ) -> _T:
        refuse_in_event_loop(name)
        return run_on(self._hub.loop, function, *args, timeout=timeout)


def _seconds(timeout: float | None) -> float:
    return get_settings().ack_timeout if timeout is None else timeout
