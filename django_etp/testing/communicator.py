"""A client for tests: it speaks ETP with a consumer in the same process, without a server.

    async with EtpCommunicator(user=alice) as client:
        answer = await client.emit_with_ack("hello", {"name": "Alice"})
        assert answer.json() == {"greeting": "Hello, Alice"}
        await client.expect_nothing()

It works with ``TestCase`` and with pytest-django's ``db`` as with ``transactional_db``: while it is connected, plain
handlers and the ORM's a-methods use the database connection of the test. The fixture ``etp_communicator`` lets the
a-methods do so from the beginning of the test.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn, Self
from urllib.parse import unquote

from asgiref.sync import sync_to_async
from channels.auth import AuthMiddleware, AuthMiddlewareStack

from django_etp.consumers import EtpConsumer
from django_etp.events.errors import failure_observer
from django_etp.exceptions import AckTimeout, EtpError, InvalidFrame
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.closing import Disconnect
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.frames import SUBPROTOCOL, Event, decode, encode_answer
from django_etp.serialization import to_frame, to_text

from .database import connections_to_lend, lend, take_back
from .waiting import thread_sensitive

__all__ = ["EtpCommunicator", "HandshakeRejected"]

_Application = Callable[[dict[str, Any], Callable[..., Any], Callable[..., Any]], Awaitable[None]]

_TIMEOUT = 3.0


class HandshakeRejected(EtpError):
    """The application refused the handshake; ``status`` is the HTTP status that the client sees."""

    def __init__(self, status: int = 403) -> None:
        super().__init__(f"The application refused the handshake with HTTP {status}.")
        self.status = status


class EtpCommunicator:
    """One client of an ETP consumer; an async context manager that connects and disconnects.

    Args:
        application: the ASGI application; by default an ``EtpConsumer`` with the session and auth middleware.
        path: the path of the handshake, quoted as in a URL, with its query string.
        namespace: the consumer's namespace, where no application is given.
        user: who connects, instead of whom the session says. Where neither an application nor a session is given, the
            session is then a dict, ``scope["session"]``, and takes no database.
        session: the Django session that connects, instead of the one that a cookie says.
        headers: further headers, as pairs of str or bytes.
        origin: the Origin header, as a browser sends it.
        subprotocols: the WebSocket subprotocols that the client offers.
        scope: further keys of the ASGI scope.
    """

    def __init__(
        self,
        application: _Application | None = None,
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
        self.scope = _scope(path, headers, origin, list(subprotocols)) | dict(scope or {})
        if application is None:
            consumer = EtpConsumer.as_asgi(namespace=namespace)
            if user is not None:
                application = consumer
                self.scope.setdefault("session", {})
            else:
                application = AuthMiddlewareStack(consumer) if session is None else AuthMiddleware(consumer)
        self._application = application
        if user is not None:
            self.scope["user"] = user
        if session is not None:
            self.scope["session"] = session
        self.subprotocol: str | None = None
        self._to_application: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._frames: asyncio.Queue[str | Disconnect] = asyncio.Queue()
        self._handshake: asyncio.Future[bool] | None = None
        self._acks = PendingAcks()
        self._disconnect: Disconnect | None = None
        # What stands for the outcome of a test, such as that of pytest.fail(), by the number of the event.
        self._outcomes: dict[int, BaseException] = {}
        self._asked: dict[int, str] = {}
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.disconnect()

    async def connect(self, *, timeout: float = 6.0) -> None:
        """Shake hands, waiting up to ``timeout`` seconds.

        Raises:
            HandshakeRejected: the application refused.
            TimeoutError: it neither accepted nor refused in time.
        """
        if self._task is not None:
            raise EtpError("This communicator is connected already, or was: make a new one for each connection.")
        self._handshake = asyncio.get_running_loop().create_future()
        await self._to_application.put({"type": "websocket.connect"})
        # A context of its own: a server does not run connections in the context of a test.
        self._task = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        waiting: set[asyncio.Future[Any]] = {self._handshake, self._task}
        try:
            await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._task.cancel()
            raise
        if not self._handshake.done():
            await self._give_up(timeout)
        if not self._handshake.result():
            await self.disconnect(1006)
            raise HandshakeRejected

    async def _give_up(self, timeout: float) -> NoReturn:
        assert self._task is not None
        if self._task.done():
            await self._task
            raise EtpError("The application ended without accepting or refusing the handshake.")
        self._task.cancel()
        await asyncio.wait([self._task])
        self._task = None  # so that disconnect(), maybe in a finally, has nothing to wait for
        raise TimeoutError(f"The application neither accepted nor refused the handshake within {timeout:g} s.")

    async def disconnect(self, code: int = 1000, reason: str = "", *, timeout: float = 12.0) -> None:
        """Close the connection and wait, up to ``timeout`` seconds, until the application has cleaned up.

        Raises what the application raised.
        """
        if self._task is None:
            return
        self._acks.close()
        await self._to_application.put({"type": "websocket.disconnect", "code": code, "reason": reason})
        async with asyncio.timeout(timeout):
            await asyncio.shield(self._task)
        if self._outcomes:
            raise self._outcomes.popitem()[1]

    async def emit(self, event: str, data: object = None) -> None:
        """Send an event that wants no answer; ``data`` as for ``Connection.emit()``."""
        await self.send_frame(to_frame(event, data))

    async def emit_with_ack(self, event: str, data: object = None, *, timeout: float = _TIMEOUT) -> Event:
        """Send an event and return the answer to it; other events that come meanwhile wait for ``expect_event()``.

        Raises:
            AckTimeout: no answer came within ``timeout`` seconds, or there is none since the handler raised, at once;
                ``__cause__`` is what it raised. ``pytest.fail()`` and the like in a handler are raised as they are.
            ConnectionClosed: the application closed the connection first.
            EventFailed: the application says why it has no answer, to who speaks ``etp.ext.v1``.
        """
        ack_id, future = self._acks.open()
        self._asked[ack_id] = event
        await self.send_frame(to_frame(event, data, ack_id))
        try:
            return await self._acks.wait(ack_id, future, timeout)
        finally:
            del self._asked[ack_id]

    async def answer(self, event: Event, data: object = None) -> None:
        """Answer an event that the application sent."""
        await self.send_frame(encode_answer(event, to_text(data)))

    async def send_frame(self, message: str | bytes) -> None:
        """Send a message as it is: str as a text message, bytes as a binary one."""
        key = "text" if isinstance(message, str) else "bytes"
        await self._to_application.put({"type": "websocket.receive", key: message})

    async def receive_frame(self, *, timeout: float = _TIMEOUT) -> str:
        """Return the next frame as it is; answers to ``emit_with_ack()`` are not among them.

        Raises:
            AssertionError: none came within ``timeout`` seconds, or the connection was closed instead.
        """
        frame = await self._next(timeout, "a frame")
        if isinstance(frame, Disconnect):
            raise AssertionError(f"Expected a frame, but the connection was closed: {frame}.")
        return frame

    async def expect_event(self, name: str | None = None, *, timeout: float = _TIMEOUT) -> Event:
        """Return the next event, which must have this name where one is given.

        Raises:
            AssertionError: another event came, the connection was closed, or nothing came within ``timeout`` seconds.
        """
        event = decode(await self.receive_frame(timeout=timeout))
        if name is not None and event.name != name:
            raise AssertionError(f"Expected the event {name!r}, got {event}.")
        return event

    async def expect_nothing(self, *, timeout: float = 0.1) -> None:
        """Check that nothing comes within ``timeout`` seconds.

        Raises:
            AssertionError: a frame came, or the connection was closed.
        """
        try:
            async with asyncio.timeout(timeout):
                frame = await self._frames.get()
        except TimeoutError:
            return
        raise AssertionError(f"Expected nothing, got {frame!r:.300}.")

    async def expect_close(self, code: int | None = None, *, timeout: float = _TIMEOUT) -> Disconnect:
        """Return how the application closes the connection; frames before the close are passed over.

        Raises:
            AssertionError: it was closed with another code than the one given, or not within ``timeout`` seconds.
        """
        while not isinstance(frame := await self._next(timeout, "a close"), Disconnect):
            pass
        if code is not None and frame.code != code:
            raise AssertionError(f"Expected close code {code}, got {frame}.")
        return frame

    async def _next(self, timeout: float, expected: str) -> str | Disconnect:
        if self._disconnect is not None and self._frames.empty():
            return self._disconnect
        try:
            async with asyncio.timeout(timeout):
                return await self._frames.get()
        except TimeoutError:
            raise AssertionError(f"Expected {expected} within {timeout:g} s, got nothing.") from None

    async def _run(self) -> None:
        failure_observer.set(self._note_failure)
        with thread_sensitive():
            async with _shared_database_connections():
                await self._application(self.scope, self._to_application.get, self._receive_from_application)

    def _note_failure(self, event: Event, error: BaseException) -> None:
        if not isinstance(error, Exception | asyncio.CancelledError):
            self._outcomes[event.ack_id] = error
        if self.subprotocol == SUBPROTOCOL and event.ack_id:
            return  # the failure comes as a frame
        failure = self._outcomes.get(event.ack_id)
        if failure is None:
            failure = AckTimeout(
                f"No answer to {event.name!r:.80}: its handler raised {type(error).__name__}: {error!s:.500}"
            )
            failure.__cause__ = error
        # A frame that was sent by hand may have the same number.
        if self._asked.get(event.ack_id) == event.name and self._acks.fail(event.ack_id, failure):
            self._outcomes.pop(event.ack_id, None)

    async def _receive_from_application(self, message: dict[str, Any]) -> None:
        assert self._handshake is not None
        match message["type"]:
            case "websocket.accept":
                self.subprotocol = message.get("subprotocol")
                self._handshake.set_result(True)
            case "websocket.send":
                if not self._handshake.done():
                    raise EtpError("The application sent a message before it accepted the handshake.")
                self._take(message["text"])
            case "websocket.close" if self._handshake.done():
                self._disconnect = Disconnect(message.get("code", 1000), message.get("reason") or "")
                self._acks.close()
                self._frames.put_nowait(self._disconnect)
                await self._to_application.put({"type": "websocket.disconnect", "code": self._disconnect.code})
            case "websocket.close":
                self._handshake.set_result(False)

    def _take(self, frame: str) -> None:
        try:
            event = decode(frame)
        except InvalidFrame:
            self._frames.put_nowait(frame)
            return
        is_settled = False
        if meaning_of(event, speaks_extensions=self.subprotocol == SUBPROTOCOL) == "answer":
            outcome = self._outcomes.pop(event.ack_id, None) if event.is_failure else None
            is_settled = self._acks.settle(event) if outcome is None else self._acks.fail(event.ack_id, outcome)
        if not is_settled:
            self._frames.put_nowait(frame)


def _scope(
    path: str, headers: Iterable[tuple[str | bytes, str | bytes]], origin: str | None, subprotocols: list[str]
) -> dict[str, Any]:
    path, _, query = path.partition("?")
    pairs = [(_bytes(name).lower(), _bytes(value)) for name, value in headers]
    if not any(name == b"host" for name, _ in pairs):
        pairs.append((b"host", b"testserver"))
    if origin is not None:
        pairs.append((b"origin", origin.encode()))
    return {
        "type": "websocket",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "ws",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": pairs,
        "subprotocols": subprotocols,
        "client": ("127.0.0.1", 0),
        "server": ("testserver", 80),
    }


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


@asynccontextmanager
async def _shared_database_connections() -> AsyncIterator[None]:
    """Let asgiref's shared thread use the database connections of this one, with the test's transaction in them."""
    mine = connections_to_lend()
    await sync_to_async(lend)(mine)
    try:
        yield
    finally:
        await sync_to_async(take_back)(mine)
