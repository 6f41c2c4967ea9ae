"""A client for tests, which speaks ETP with a consumer in the same process, without a server.

    async with EtpCommunicator(user=alice) as client:
        answer = await client.emit_with_ack("hello", {"name": "Alice"})
        assert answer.json() == {"greeting": "Hello, Alice"}
        await client.expect_nothing()

It works with ``TestCase``, and with ``db`` and ``transactional_db`` of pytest-django: while it is connected, plain
handlers and the ORM's a-methods use the database connection of the test. With the fixture ``etp_communicator`` the
a-methods do so from the beginning of the test.
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Iterable, MutableMapping
from contextlib import AbstractContextManager, aclosing
from typing import Any, NoReturn, Self

from django_etp.events.errors import failure_observer
from django_etp.exceptions import AckTimeout, EtpError, InvalidFrame
from django_etp.protocol import ROOMS_SUBPROTOCOL, SUBPROTOCOL, Event, check_event_name, decode, encode, encode_answer
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.closing import Disconnect
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.pending_streams import PendingStreams
from django_etp.serialization import to_frame, to_text

from . import commits as commits  # events bound to a commit are sent in tests
from .budget import sql_budget
from .database import shared_connections
from .inbox import TIMEOUT, Inbox
from .rejection import HandshakeRejected
from .rooms import JoinedRoom
from .scope import Application, default_application, handshake_scope
from .waiting import thread_sensitive

__all__ = ["EtpCommunicator"]


class EtpCommunicator(Inbox):
    """One client of an ETP consumer; an async context manager that connects and disconnects.

    Args:
        application: the ASGI application; by default an ``EtpConsumer`` with the session and auth middleware.
        path: the path of the handshake, quoted as in a URL, with its query string.
        namespace: the consumer's namespace, if no application is given.
        user: the user who connects, instead of the session's user. If neither an application nor a session is given,
            the session is then a dict, ``scope["session"]``, and needs no database.
        session: the Django session that connects, instead of the one that a cookie names.
        headers: further headers, as pairs of str or bytes.
        origin: the Origin header, which browsers send.
        subprotocols: the WebSocket subprotocols that the client offers.
        scope: further keys of the ASGI scope.
    """

    def __init__(
        self,
        application: Application | None = None,
        path: str = "/ws/",
        *,
        namespace: str = "default",
        user: Any = None,
        session: Any = None,
        headers: Iterable[tuple[str | bytes, str | bytes]] = (),
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        scope: MutableMapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.scope = handshake_scope(path, headers, origin, subprotocols) | dict(scope or {})
        if application is None:
            application = default_application(namespace, has_user=user is not None, has_session=session is not None)
            if user is not None:
                self.scope.setdefault("session", {})
        self._application = application
        given = {"user": user, "session": session}
        self.scope.update((key, value) for key, value in given.items() if value is not None)
        self.subprotocol: str | None = None
        self._speaks_extensions = False
        self._to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._handshake: asyncio.Future[int] | None = None  # the HTTP status: 101 if it was accepted
        self._acks = PendingAcks()
        self._has_room = asyncio.Event()  # for parts of streamed answers
        self._streams = self._make_streams(can_stop=False)
        # Errors that decide the outcome of a test, such as that of pytest.fail(), by the ack id of the event.
        self._outcomes: dict[int, BaseException] = {}
        self._asked: dict[int, str] = {}  # the names of questions
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.disconnect()

    async def connect(self, *, timeout: float = 6.0) -> None:
        """Connect, waiting up to ``timeout`` seconds for the handshake.

        A client that speaks the extensions waits for the greeting, and gets its ``id``.

        Raises:
            HandshakeRejected: the application refused.
            TimeoutError: it neither accepted nor refused in time.
        """
        if self._task is not None:
            raise EtpError("This communicator was connected before: make a new one for each connection.")
        self._handshake = asyncio.get_running_loop().create_future()
        await self._to_application.put({"type": "websocket.connect"})
        # In a new context: a server does not run connections in the context of a test.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        waiting: set[asyncio.Future[Any]] = {self._handshake, self._task}
        try:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if not self._handshake.done():
            await self._give_up(timeout)
        if (status := self._handshake.result()) != 101:
            await self.disconnect(1006)
            raise HandshakeRejected(status)
        if self._speaks_extensions:
            await self._wait_for_greeting()

    async def _give_up(self, timeout: float) -> NoReturn:
        assert self._task is not None
        if self._task.done():
            await self._task
            raise EtpError("The application ended without accepting or refusing the handshake.")
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None  # so that disconnect(), as in a finally clause, does not wait
        raise TimeoutError(f"The application neither accepted nor refused the handshake within {timeout:g} s.")

    async def disconnect(self, code: int = 1000, reason: str = "", *, timeout: float = 12.0) -> None:
        """Close the connection and wait, up to ``timeout`` seconds, until the application has cleaned up.

        Raises what the application raised.
        """
        if self._task is None:
            return
        self._end_questions()
        await self._to_application.put({"type": "websocket.disconnect", "code": code, "reason": reason})
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._task)
        if self._outcomes:
            raise self._outcomes.popitem()[1]

    async def emit(self, event: str, data: object = None) -> None:
        """Send an event that needs no answer; ``data`` as for ``Connection.emit()``."""
        await self.send_frame(to_frame(event, data))

    async def emit_with_ack(self, event: str, data: object = None, *, timeout: float = TIMEOUT) -> Event:
        """Send an event and return the answer to it. Events that arrive meanwhile wait for ``expect_event()``.

        Raises:
            AckTimeout: no answer came within ``timeout`` seconds; or, at once, the handler raised an error, which is
                then the ``__cause__``. The errors of ``pytest.fail()`` and the like are raised as they are.
            ConnectionClosed: the application closed the connection first.
            EventFailed: the application sent a failure, to a client that speaks the extensions.
        """
        check_event_name(event)
        return await self._ask(event, to_text(data), timeout)

    async def stream(self, event: str, data: object = None, *, timeout: float = TIMEOUT) -> AsyncGenerator[Event, None]:
        """Send an event and yield the parts of its streamed answer, as events, while they arrive.

        A client that does not speak ``etp.ext.v2`` gets one answer, which is the only part, unless it is empty. If the
        loop ends early, the application is asked to stop, at the latest when the generator is closed. ``timeout`` is
        how long each part may take, in seconds. An application that streams faster than the loop reads has to wait.

        Raises:
            AckTimeout, ConnectionClosed, EventFailed: see emit_with_ack(). Some parts may have come before.
        """
        check_event_name(event)
        async with aclosing(self._streams.read(event, to_text(data), timeout)) as parts:
            async for part in parts:
                yield part

    def sql_budget(self, most: int) -> AbstractContextManager[list[str]]:
        """Check how many queries the handlers of events run within the block.

            with client.sql_budget(3) as queries:
                await client.emit_with_ack("orders")

        Queries of the test itself do not count, and neither do those of hooks. ``queries`` gets their SQL. The handlers
        of other clients count, too.

        Raises:
            AssertionError: they ran more than ``most`` queries, which are listed.
        """
        return sql_budget(most)

    async def join(self, room: str, *, since: str | None = None, timeout: float = TIMEOUT) -> JoinedRoom:
        """Join a declared room, and return it with its state. The client must offer the subprotocol ``etp.ext.v2``.

        If the room has a history, the client goes on after the position ``since``.

        Raises:
            AckTimeout, ConnectionClosed, EventFailed: see emit_with_ack().
            TypeError: the client offered no extensions.
        """
        if not self._speaks_extensions:
            raise TypeError('To join, make the client with subprotocols=["etp.ext.v2"].')
        return await JoinedRoom.join(self, self._ask, self._streams.read, room, since, timeout)

    async def _ask(self, name: str, text: str, timeout: float) -> Event:
        ack_id, future = self._acks.open()
        await self._send_question(encode(Event(name, ack_id, text)))
        return await self._acks.wait(ack_id, future, timeout)

    async def _send_question(self, frame: str) -> None:
        question = decode(frame)
        self._asked[question.ack_id] = question.name
        await self.send_frame(frame)

    async def answer(self, event: Event, data: object = None) -> None:
        """Answer an event that the application sent."""
        await self.send_frame(encode_answer(event, to_text(data)))

    async def send_frame(self, message: str | bytes) -> None:
        """Send a message unchanged: str as a text message, bytes as a binary one."""
        key = "text" if isinstance(message, str) else "bytes"
        await self._to_application.put({"type": "websocket.receive", key: message})

    async def _run(self) -> None:
        failure_observer.set(self._record_failure)
        with thread_sensitive():
            async with shared_connections():
                await self._application(self.scope, self._to_application.get, self._receive_from_application)

    def _record_failure(self, event: Event, error: BaseException) -> None:
        if not isinstance(error, Exception | asyncio.CancelledError):
            self._outcomes[event.ack_id] = error
        if self._speaks_extensions and event.ack_id:
            return  # the failure arrives as a frame
        failure = self._outcomes.get(event.ack_id)
        if failure is None:
            failure = AckTimeout(
                f"No answer to {event.name!r:.80}: its handler raised {type(error).__name__}: {error!s:.500}"
            )
            failure.__cause__ = error
        # A frame that send_frame() sent may have the same ack id.
        if self._asked.get(event.ack_id) == event.name and self._acks.fail(event.ack_id, failure):
            self._outcomes.pop(event.ack_id, None)

    async def _receive_from_application(self, message: dict[str, Any]) -> None:
        assert self._handshake is not None
        match message["type"]:
            case "websocket.accept":
                self.subprotocol = message.get("subprotocol")
                self._speaks_extensions = self.subprotocol in (SUBPROTOCOL, ROOMS_SUBPROTOCOL)
                self._streams = self._make_streams(can_stop=self.subprotocol == ROOMS_SUBPROTOCOL)
                self._handshake.set_result(101)
            case "websocket.send":
                if not self._handshake.done():
                    raise EtpError("The application sent a message before it accepted the handshake.")
                await self._take(message["text"])
            case "websocket.close" if self._handshake.done():
                self._disconnect = Disconnect(message.get("code", 1000), message.get("reason") or "")
                self._end_questions()
                self._put(self._disconnect)
                await self._to_application.put({"type": "websocket.disconnect", "code": self._disconnect.code})
            case "websocket.close":
                self._handshake.set_result(403)
            case "websocket.http.response.start":
                self._handshake.set_result(message["status"])

    def _make_streams(self, *, can_stop: bool) -> PendingStreams:
        return PendingStreams(self._acks, self._has_room, self._send_question, can_stop=can_stop)

    def _end_questions(self) -> None:
        self._acks.close()
        self._has_room.set()

    async def _take(self, frame: str) -> None:
        try:
            event = decode(frame)
        except InvalidFrame:
            self._put(frame)
            return
        is_settled = False
        meaning = meaning_of(event, speaks_extensions=self._speaks_extensions)
        if meaning == "part" and self._streams.reads(event.ack_id):
            await self._streams.put(event)
            return
        if meaning == "greeting" and self._id is None:
            self._take_greeting(frame)
            return
        if meaning == "answer":
            outcome = self._outcomes.pop(event.ack_id, None) if event.is_failure else None
            is_settled = self._acks.settle(event) if outcome is None else self._acks.fail(event.ack_id, outcome)
        if not is_settled:
            self._put(frame)
