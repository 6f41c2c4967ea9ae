"""An ETP client for Python, on asyncio and the ``websockets`` library; it needs no Django.

    async with EtpClient("ws://localhost:8000/ws/") as client:
        @client.on("news")
        async def news(event):
            print(event.data)

        answer = await client.emit_with_ack("hello", {"name": "Ada"})

Rules kept here:

- The connection is made again, with the library's growing delays, after any end but a normal one (1000), a logout
  (4401) or a refusal (4403). What was asked when it broke fails at once, and is never sent twice.
- Nothing is given up in silence: ``on_disconnect`` has the code that ended it, ``on_error`` whatever else did.
- Limits and errors are the server's: the size of a message, how many handlers run, how many events wait.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

try:
    from websockets.asyncio.client import ClientConnection as BaseWebSocket
    from websockets.asyncio.client import connect, process_exception  # type: ignore[attr-defined]
    from websockets.client import backoff
    from websockets.exceptions import InvalidURI, WebSocketException
    from websockets.typing import Origin, Subprotocol
    from websockets.uri import parse_uri
except ImportError as error:
    raise ImportError(
        "django_etp.client needs the library websockets, 15 or newer: install django-etp[client].",
        name=error.name,
        path=error.path,
    ) from error

from django_etp.exceptions import ConnectionClosed, EtpError
from django_etp.protocol.closing import Disconnect, check_close
from django_etp.protocol.frames import SUBPROTOCOL, Event, check_event_name

from .connection import ClientConnection, WebSocket
from .handlers import ClientHandlers

__all__ = ["CONNECT_ERRORS", "EtpClient", "FailedAttempt"]

# What may keep a client from connecting: a URL that is none, a network or a server that is not there, a refusal.
CONNECT_ERRORS = (OSError, WebSocketException)

_Function = TypeVar("_Function", bound=Callable[..., Any])

# The server ended it on purpose: normally, after a logout, by refusing.
_FINAL_CODES = frozenset({1000, 4401, 4403})
# After a connection that lived this long, in seconds, the delays start from the beginning.
_STABLE_AFTER = 5.0
# A server that cannot reach its database refuses handshakes as one does that will never let this client in; that many
# refusals in a row are taken for the latter. With the delays of websockets that is after 20 minutes.
_MAX_REFUSALS = 20


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt to connect again that failed.

    Attributes:
        attempt: its number, from 1, since there was a connection.
        delay: how long until the next one, in seconds; ``None`` where the client gives up.
        error: why it failed, one of ``CONNECT_ERRORS`` mostly.
    """

    attempt: int
    delay: float | None
    error: Exception


class EtpClient:
    """A connection to an ETP server that is made again when it breaks; an async context manager.

    Args:
        url: where to, ``ws://`` or ``wss://``.
        headers: further headers of the handshake, as a mapping or pairs.
        cookies: cookies of the handshake.
        origin: the Origin header, for servers that want one.
        ack_timeout: how long an answer may take, in seconds.
        is_reconnecting: whether the connection is made again when it breaks.
        reconnect_delays: returns the delays before the attempts to connect again, in seconds; by default those of
            ``websockets``, which grow to a minute and more. Where they end, the client gives up.
        max_message_size: the largest message that is taken, in bytes; a larger one closes with 1009.
        max_concurrent_events: how many handlers run at a time, for each connection.
        max_queued_events: how many events wait beyond that, in order; while more would, nothing is read, which slows
            the server. Where no handler ends for 6 s meanwhile, the connection is closed with 1008.
        offers_extensions: whether to ask the server for failures and the greeting (``etp.ext.v1``).
        options: further keyword arguments of ``websockets.asyncio.client.connect``, such as ``ssl`` or ``proxy``.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] = (),
        cookies: Mapping[str, str] | None = None,
        origin: str | None = None,
        ack_timeout: float = 10.0,
        is_reconnecting: bool = True,
        reconnect_delays: Callable[[], Iterator[float]] = backoff,
        max_message_size: int = 1024 * 1024,
        max_concurrent_events: int = 100,
        max_queued_events: int = 1000,
        offers_extensions: bool = True,
        **options: Any,
    ) -> None:
        self._ack_timeout = ack_timeout
        self._is_reconnecting = is_reconnecting
        self._reconnect_delays = reconnect_delays
        self._limits = {"max_running": max_concurrent_events, "max_queued": max_queued_events}
        try:
            parse_uri(url)
        except ValueError as error:  # as for a port that is none
            raise InvalidURI(url, str(error)) from error
        self._connector = connect(
            url,
            additional_headers=_headers(headers, cookies),
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(SUBPROTOCOL)] if offers_extensions else None,
            max_size=max_message_size,
            **{"create_connection": WebSocket, **options},
        )
        self._handlers = ClientHandlers()
        self._connection: ClientConnection | None = None
        # Earlier ones whose handlers may run still.
        self._left_busy: set[ClientConnection] = set()
        self._connected: asyncio.Future[None] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._is_waiting = False
        self._failures = 0  # attempts in a row, since there was a connection
        self._refusals = 0  # those at the end that the server answered

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise EtpError("This client was entered already: make a new one.")
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

        It takes the event and returns the answer: ``None`` for an empty one, str as it is, anything else as JSON. It
        may be plain, and then runs on the event loop.

        Raises:
            EtpError: the event has a handler already.
            InvalidEventName: the name is not for events.
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
        """Register a function of a ``FailedAttempt`` that runs after each attempt to connect again that failed."""
        return self._handlers.add_hook("attempt_failed", function)

    def on_error(self, function: _Function) -> _Function:
        """Register a function of an exception: a handler or hook raised it, what the server sent is it, or for it the
        client gives up connecting again.
        """
        return self._handlers.add_hook("error", function)

    def on_unknown_event(self, function: _Function) -> _Function:
        """Register a function of an event that has no handler; what it returns is the answer."""
        return self._handlers.add_hook("unknown_event", function)

    # Sending

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None and self._connection.is_open

    @property
    def id(self) -> str | None:
        """The id of this connection at the server; ``None`` where the server does not tell it."""
        return None if self._connection is None else self._connection.id

    async def emit(self, event: str, data: object = None) -> None:
        """Send an event that wants no answer.

        ``data`` is sent as it is where it is str, as JSON otherwise, not at all where it is ``None``.

        Raises:
            ConnectionClosed: there is no connection now.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON.
        """
        await self._current().emit(event, data)

    async def emit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """Send an event and return the answer to it.

        ``timeout`` is in seconds, ``ack_timeout`` by default. See emit() for what else is raised.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection broke before the answer came. The event is not sent again.
            EventFailed: the server says why it has no answer.
        """
        return await self._current().ask(event, data, self._ack_timeout if timeout is None else timeout)

    async def ping(self, *, timeout: float | None = None) -> float:
        """Return how long the server took to answer a ping, in seconds. See emit_with_ack()."""
        start = time.perf_counter()
        await self._current().ping(self._ack_timeout if timeout is None else timeout)
        return time.perf_counter() - start

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection for good; once closed, this does nothing. Handlers that still run are cancelled.

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
                self._runner.exception()  # which was reported, and wait_closed() raises
        if connection is not None:
            self._left_busy.add(connection)
        for each in self._left_busy:
            each.cancel()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended for good.

        Raises the error that made the client give up, where one did.
        """
        if self._runner is not None:
            await asyncio.wait([self._runner])
            if not self._runner.cancelled():
                await self._runner

    # The connection

    def _current(self) -> ClientConnection:
        if self._connection is None:
            raise ConnectionClosed("There is no connection to the server now.")
        return self._connection

    async def _run(self) -> None:
        delays = self._reconnect_delays()
        while True:
            result = await self._connect()
            if isinstance(result, Exception):
                error = result
                delay = next(delays, None) if self._may_pass(error) else None
                await self._handlers.run_hooks("attempt_failed", FailedAttempt(self._failures, delay, error))
                if not self._is_reconnecting:  # a hook has closed the client
                    return
            else:
                opened_at = time.monotonic()
                disconnect = await self._serve(result)
                if not self._is_reconnecting or disconnect.code in _FINAL_CODES:
                    return
                if time.monotonic() - opened_at >= _STABLE_AFTER:
                    delays = self._reconnect_delays()
                delay = next(delays, None)
                error = ConnectionClosed(
                    f"The connection ended with {disconnect.code} ({disconnect.reason or 'no reason'}), and "
                    "reconnect_delays has no delay left before another attempt."
                )
            if delay is None:
                await self._handlers.report(error, "connecting again, for the last time")
                raise error
            self._is_waiting = True
            await asyncio.sleep(delay)

    async def _connect(self) -> BaseWebSocket | Exception:
        """Return a connection, or why there is none; raise that where there never was one."""
        self._is_waiting = True
        try:
            websocket = await self._open()
        except Exception as error:
            assert self._connected is not None
            if not self._connected.done():
                raise
            self._failures += 1
            self._refusals = self._refusals + 1 if process_exception(error) is not None else 0
            return error
        finally:
            self._is_waiting = False
        self._failures = self._refusals = 0
        return websocket

    async def _open(self) -> BaseWebSocket:
        try:
            return await self._connector
        except UnicodeError as error:  # a host that no name server can be asked for
            raise InvalidURI(self._connector.uri, str(error)) from error

    def _may_pass(self, error: Exception) -> bool:
        """Return whether another attempt makes sense."""
        is_passing = isinstance(error, CONNECT_ERRORS) and not isinstance(error, InvalidURI)
        return is_passing and self._refusals < _MAX_REFUSALS

    async def _serve(self, websocket: BaseWebSocket) -> Disconnect:
        connection = self._connection = ClientConnection(websocket, self._handlers, **self._limits)
        try:
            await connection.greet()
            assert self._connected is not None
            if not self._connected.done():
                self._connected.set_result(None)
            connection.start(self._handlers.run_hooks("connect"))
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


def _headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str]], cookies: Mapping[str, str] | None
) -> list[tuple[str, str]]:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if cookies:
        pairs.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
    return pairs
