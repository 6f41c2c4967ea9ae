"""An ETP client for Python, on asyncio and the ``websockets`` library; it needs no Django.

    async with EtpClient("ws://localhost:8000/ws/") as client:
        @client.on("news")
        async def news(event):
            print(event.data)

        answer = await client.emit_with_ack("hello", {"name": "Ada"})

Rules kept here:

- After any end but a normal one (1000), a logout (4401) or a refusal (4403), the client connects again, with growing
  delays; see ``Attempts``. Questions that were pending fail at once and are never sent twice.
- No end is silent: ``on_disconnect`` receives the close code, ``on_error`` any other reason.
- Limits and errors are the same as the server's: the size of a message, how many handlers run, how many events wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any, Self, TypeVar

from websockets.client import backoff

from django_etp.exceptions import ConnectionClosed, EtpError
from django_etp.protocol.closing import Disconnect, check_close
from django_etp.protocol.frames import Event, check_event_name

from . import streams
from .attempts import Attempts, no_delay_left
from .connection import ClientConnection
from .credentials import Cookies, Credentials, Headers, Token
from .handlers import ClientHandlers
from .renewal import keep_logged_in
from .room import ClientRoom
from .rooms import ClientRooms
from .websocket import Connector

__all__ = ["EtpClient"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class EtpClient:
    """A connection to an ETP server that is made again when it breaks; an async context manager.

    Args:
        url: the server's URL, ``ws://`` or ``wss://``.
        headers: further headers of the handshake. This and the next two may be functions, called at each attempt.
        cookies: cookies of the handshake.
        token: logs in with ``Authorization: Bearer …``. A function is called again before the token expires.
        origin: the Origin header, for servers that require one.
        ack_timeout: how long an answer may take, in seconds.
        is_reconnecting: whether to connect again when the connection breaks.
        reconnect_delays: returns the delays before the attempts to connect again, in seconds; by default those of
            ``websockets``, which grow to a minute and more. When the delays are exhausted, the client gives up.
        max_message_size: the largest message that is accepted, in bytes; a larger one closes the connection with 1009.
        max_concurrent_events: how many handlers run at a time, for each connection.
        max_queued_events: how many events wait beyond that. While they do, the client reads nothing, which slows the
            server; if no handler ends for 6 s meanwhile, the connection is closed with 1008.
        extensions: whether to offer the server ``etp.ext.v2`` and ``etp.ext.v1``: rooms, failures and the greeting.
        options: further keyword arguments of ``websockets.asyncio.client.connect``, such as ``ssl`` or ``proxy``.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Headers = (),
        cookies: Cookies = None,
        token: Token = None,
        origin: str | None = None,
        ack_timeout: float = 10.0,
        is_reconnecting: bool = True,
        reconnect_delays: Callable[[], Iterator[float]] = backoff,
        max_message_size: int = 1024 * 1024,
        max_concurrent_events: int = 100,
        max_queued_events: int = 1000,
        extensions: bool = True,
        **options: Any,
    ) -> None:
        self._ack_timeout = ack_timeout
        self._is_reconnecting = is_reconnecting
        self._reconnect_delays = reconnect_delays
        self._limits = {"max_running": max_concurrent_events, "max_queued": max_queued_events}
        self._credentials = Credentials(headers, cookies, token)
        self._connector = Connector(
            url, self._credentials, origin, extensions=extensions, max_size=max_message_size, **options
        )
        self._handlers = ClientHandlers()
        self._rooms = ClientRooms(self._handlers, self._current, ack_timeout)
        self._connection: ClientConnection | None = None
        self._left_busy: set[ClientConnection] = set()  # earlier ones, whose handlers may still run
        self._connected: asyncio.Future[None] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._is_waiting = False  # for a connection, or for the time to make one

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise EtpError("This client was entered before: make a new one.")
        self._connected = asyncio.get_running_loop().create_future()
        self._runner = asyncio.get_running_loop().create_task(self._run())
        try:
            await asyncio.wait([self._connected, self._runner], return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._runner.cancel()
            raise
        if not self._connected.done():
            if not self._runner.cancelled():
                await self._runner  # raises why the first connection failed
            raise ConnectionClosed("The client was closed before it was connected.")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    # Registering

    def on(self, name: str) -> Callable[[_Function], _Function]:
        """Register the decorated function as the handler of the event ``name``.

        It receives the event and returns the answer: ``None`` for an empty one, a str sent as is, any other value sent
        as JSON. It may be a coroutine function or a plain function, which then runs on the event loop.

        Raises:
            EtpError: the event already has a handler.
            InvalidEventName: an event cannot have this name.
        """
        check_event_name(name)

        def register(function: _Function) -> _Function:
            self._handlers.add(name, function)
            return function

        return register

    def on_connect(self, function: _Function) -> _Function:
        """Register a function without arguments that runs after each connect."""
        return self._handlers.add_hook("connect", function)

    def on_disconnect(self, function: _Function) -> _Function:
        """Register a function of a ``Disconnect`` that runs after each end of a connection."""
        return self._handlers.add_hook("disconnect", function)

    def on_attempt_failed(self, function: _Function) -> _Function:
        """Register a function of a ``FailedAttempt`` that runs after each failed attempt to connect again."""
        return self._handlers.add_hook("attempt_failed", function)

    def on_error(self, function: _Function) -> _Function:
        """Register a function of an exception: of a handler or hook, of the server, or why the client gave up."""
        return self._handlers.add_hook("error", function)

    def on_unknown_event(self, function: _Function) -> _Function:
        """Register a function of an event that has no handler; its result is the answer."""
        return self._handlers.add_hook("unknown_event", function)

    def room(self, name: str, *, since: str | None = None) -> ClientRoom:
        """Return a declared room of the server, the same object for one name each time; does not join it.

        ``since`` is a position in a room with history: the first join asks for the events after it. Raises
        ``InvalidRoomName`` if a declared room cannot have this name: it holds a space or ``|``, or is empty.
        """
        return self._rooms.get(name, since)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None and self._connection.is_open

    @property
    def id(self) -> str | None:
        """The id of this connection on the server; ``None`` if the server did not send it."""
        return None if self._connection is None else self._connection.id

    async def emit(self, event: str, data: object = None) -> None:
        """Send an event that needs no answer.

        ``data`` is sent as is if it is a str, not at all if it is ``None``, and as JSON otherwise.

        Raises:
            ConnectionClosed: there is no connection now.
            InvalidEventName: an event cannot have this name.
            InvalidPayload: the data cannot become JSON.
        """
        await self._current().emit(event, data)

    async def emit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """Send an event and return the answer to it.

        ``timeout`` is in seconds, ``ack_timeout`` by default. See emit() for further errors.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection broke before the answer came. The event is not sent again.
            EventFailed: the server sent a failure in place of an answer.
        """
        return await self._current().ask(event, data, self._ack_timeout if timeout is None else timeout)

    stream = streams.stream

    async def ping(self, *, timeout: float | None = None) -> float:
        """Return how long the server took to answer a ping, in seconds. See emit_with_ack()."""
        start = time.perf_counter()
        await self._current().ping(self._ack_timeout if timeout is None else timeout)
        return time.perf_counter() - start

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection for good, and cancel handlers that still run. Does nothing if it is closed.

        Raises:
            InvalidCloseCode: RFC 6455 does not let an endpoint send this code, or the reason is over 123 bytes.
        """
        check_close(code, reason)
        self._is_reconnecting = False
        connection = self._connection
        if connection is not None:
            await connection.close(code, reason)
        elif self._runner is not None and self._is_waiting:
            self._runner.cancel()
        if self._runner is not None and self._runner is not asyncio.current_task():
            await asyncio.wait([self._runner])
            if not self._runner.cancelled():
                self._runner.exception()  # it was reported, and wait_closed() raises it
        if connection is not None:
            self._left_busy.add(connection)
        for each in self._left_busy:
            each.cancel()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended for good; raise the error that made the client give up, if any."""
        if self._runner is not None:
            await asyncio.wait([self._runner])
            if not self._runner.cancelled():
                await self._runner

    def _current(self) -> ClientConnection:
        if self._connection is None:
            raise ConnectionClosed("There is no connection to the server now.")
        return self._connection

    async def _run(self) -> None:
        attempts = Attempts(self._reconnect_delays, may_change=self._credentials.may_change)
        while True:
            result = await self._connect()
            if isinstance(result, Exception):
                error, attempt = result, attempts.failed(result, may_pass=self._credentials.caused(result))
                await self._handlers.run_hooks("attempt_failed", attempt)
                if not self._is_reconnecting:  # a hook has closed the client
                    return
                delay = attempt.delay
            else:
                attempts.connected()
                disconnect = await self._serve(result)
                if not attempts.ended(disconnect) or not self._is_reconnecting:
                    return
                delay, error = attempts.delay_after(disconnect), no_delay_left(disconnect)
            if delay is None:
                await self._handlers.report(error, "connecting again, for the last time")
                raise error
            self._is_waiting = True
            await asyncio.sleep(delay)

    async def _connect(self) -> ClientConnection | Exception:
        """Return a new connection, or the error that prevented it; if it is the first, raise the error."""
        self._is_waiting = True
        try:
            websocket = await self._connector.open()
            self._is_waiting = False
            connection = self._connection = ClientConnection(websocket, self._handlers, self._rooms, **self._limits)
            self._rooms.return_to(connection)
            await connection.greet()
            return connection
        except BaseException as error:
            if self._connection is not None:
                self._connection.abort()
                self._connection = None
            assert self._connected is not None
            if not (self._connected.done() and isinstance(error, Exception)):
                raise
            return error
        finally:
            self._is_waiting = False

    async def _serve(self, connection: ClientConnection) -> Disconnect:
        try:
            if self._connected is not None and not self._connected.done():
                self._connected.set_result(None)
            connection.start(self._handlers.run_hooks("connect"))
            async with keep_logged_in(connection, self._credentials, self._handlers):
                await connection.read()
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            self._connection = None
            connection.give_up()
            self._left_busy = {each for each in (*self._left_busy, connection) if each.is_busy}
        await self._handlers.run_hooks("disconnect", connection.disconnect)
        return connection.disconnect
