"""An ETP client for Python, on asyncio and the ``websockets`` library; it needs no Django.

    async with EtpClient("ws://localhost:8000/ws/") as client:
        @client.on("news")
        async def news(event):
            print(event.data)

        answer = await client.emit_with_ack("hello", {"name": "Ada"})

Rules kept here:

- The connection is made again, with the library's growing delays, after any end but a normal one (1000), a logout
  (4401) or a refusal (4403). What was asked when it broke fails at once, and is never sent twice.
- Handlers run as tasks, up to a limit per client; answers are read past them.
- An event with an ack is answered exactly once, and not at all where its handler failed (with a server that speaks
  the extensions: by a failure).
"""

import asyncio
import inspect
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

from websockets.asyncio.client import ClientConnection, connect, process_exception  # type: ignore[attr-defined]
from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.typing import Origin, Subprotocol

from .acks import PendingAcks
from .closing import Disconnect, check_close
from .exceptions import ConnectionClosed, EtpError, EventFailed, InvalidFrame, InvalidPayload, TooManyEvents
from .protocol import (
    HELLO,
    PING,
    SUBPROTOCOL,
    Event,
    check_event_name,
    decode,
    encode,
    encode_answer,
    encode_failure,
    read_failure,
)

__all__ = ["EtpClient"]

logger = logging.getLogger(__name__)

_Function = TypeVar("_Function", bound=Callable[..., Any])

# The server ended it on purpose: normally, after a logout, by refusing.
_FINAL_CODES = frozenset({1000, 4401, 4403})


class EtpClient:
    """A connection to an ETP server that is made again when it breaks; an async context manager.

    Args:
        url: where to, ``ws://`` or ``wss://``.
        headers: further headers of the handshake, as a mapping or pairs.
        cookies: cookies of the handshake.
        origin: the Origin header, for servers that want one.
        ack_timeout: how long an answer may take, in seconds.
        is_reconnecting: whether the connection is made again when it breaks.
        max_message_size: the largest message that is taken, in bytes; a larger one closes with 1009.
        max_concurrent_events: how many handlers run at a time.
        max_queued_events: how many events wait beyond that, in order; more close the connection with 1008.
        offers_extensions: whether to ask the server for failures and the greeting (``etp.ext.v1``).
        options: further keyword arguments of ``websockets.asyncio.client.connect``, such as ``ssl`` or ``proxy``.

    Attributes:
        id: the connection's id at the server; ``None`` where the server does not tell it.
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
        max_message_size: int = 1024 * 1024,
        max_concurrent_events: int = 100,
        max_queued_events: int = 1000,
        offers_extensions: bool = True,
        **options: Any,
    ) -> None:
        self.id: str | None = None
        self._ack_timeout = ack_timeout
        self._is_reconnecting = is_reconnecting
        self._max_running = max_concurrent_events
        self._max_queued = max_queued_events
        self._connector = connect(
            url,
            additional_headers=_headers(headers, cookies),
            origin=None if origin is None else Origin(origin),
            subprotocols=[Subprotocol(SUBPROTOCOL)] if offers_extensions else None,
            max_size=max_message_size,
            process_exception=self._process_exception,
            **options,
        )
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._hooks: dict[str, list[Callable[..., Any]]] = {
            kind: [] for kind in ("connect", "disconnect", "error", "unknown_event")
        }
        self._websocket: ClientConnection | None = None
        self._acks = PendingAcks()
        self._connected: asyncio.Future[None] | None = None
        self._runner: asyncio.Task[None] | None = None
        self._queue: deque[Event] = deque()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        if self._runner is not None:
            raise EtpError("This client was entered already: make a new one.")
        self._connected = asyncio.get_running_loop().create_future()
        self._runner = asyncio.get_running_loop().create_task(self._run())
        await asyncio.wait([self._connected, self._runner], return_when=asyncio.FIRST_COMPLETED)
        if not self._connected.done():
            await self._runner  # raises why the first connection failed
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
            if name in self._handlers:
                raise EtpError(f"Event {name!r:.80} has a handler already: {self._handlers[name]!r:.200}.")
            self._handlers[name] = function
            return function

        return register

    def on_connect(self, function: _Function) -> _Function:
        """Register a function without arguments that runs after each connect."""
        return self._add_hook("connect", function)

    def on_disconnect(self, function: _Function) -> _Function:
        """Register a function of a ``Disconnect`` that runs after each end of a connection."""
        return self._add_hook("disconnect", function)

    def on_error(self, function: _Function) -> _Function:
        """Register a function of the exception that a handler or hook raised, or that a malformed frame is."""
        return self._add_hook("error", function)

    def on_unknown_event(self, function: _Function) -> _Function:
        """Register a function of an event that has no handler; what it returns is the answer."""
        return self._add_hook("unknown_event", function)

    # Sending

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._websocket is not None

    async def emit(self, event: str, data: object = None) -> None:
        """Send an event that wants no answer.

        ``data`` is sent as it is where it is str, as JSON otherwise, not at all where it is ``None``.

        Raises:
            ConnectionClosed: there is no connection now.
            InvalidEventName: the name is not for events.
            InvalidPayload: the data cannot become JSON.
        """
        await self._send(_frame(event, data))

    async def emit_with_ack(self, event: str, data: object = None, *, timeout: float | None = None) -> Event:
        """Send an event and return the answer to it.

        ``timeout`` is in seconds, ``ack_timeout`` by default. See emit() for what else is raised.

        Raises:
            AckTimeout: no answer came in time.
            ConnectionClosed: the connection broke before the answer came. The event is not sent again.
            EventFailed: the server says why it has no answer.
        """
        return await self._ask(lambda ack_id: _frame(event, data, ack_id), timeout)

    async def ping(self, *, timeout: float | None = None) -> float:
        """Return how long the server took to answer a ping, in seconds. See emit_with_ack()."""
        start = time.perf_counter()
        await self._ask(lambda ack_id: encode(Event(PING, ack_id)), timeout)
        return time.perf_counter() - start

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection for good; once closed, this does nothing.

        Raises:
            InvalidCloseCode: RFC 6455 does not let an endpoint send this code, or the reason is over 123 bytes.
        """
        check_close(code, reason)
        self._is_reconnecting = False
        if self._websocket is not None:
            await self._websocket.close(code, reason)
        elif self._runner is not None:
            self._runner.cancel()
        if self._runner is not None and self._runner is not asyncio.current_task():
            await asyncio.wait([self._runner])

    async def wait_closed(self) -> None:
        """Wait until the connection has ended for good.

        Raises the error that made the client give up, where one did.
        """
        if self._runner is not None:
            await asyncio.wait([self._runner])
            if not self._runner.cancelled():
                await self._runner

    # The connection

    async def _run(self) -> None:
        async for websocket in self._connector:
            self._websocket, self._acks = websocket, PendingAcks()
            assert self._connected is not None
            if not self._connected.done():
                self._connected.set_result(None)
            try:
                self._start(self._run_hooks("connect"))
                await self._read(websocket)
            finally:
                disconnect = self._end(websocket)
            await self._run_hooks("disconnect", disconnect)
            if not self._is_reconnecting or disconnect.code in _FINAL_CODES:
                return

    async def _read(self, websocket: ClientConnection) -> None:
        try:
            async for message in websocket:
                try:
                    await self._take(decode(message))
                except InvalidFrame as error:
                    self._start(self._report(error, "a frame of the server"))
                except TooManyEvents as error:
                    await websocket.close(1008, "too many events")
                    self._start(self._report(error, "an event of the server"))
        except WebSocketClosed:
            pass  # how, is in the connection

    def _end(self, websocket: ClientConnection) -> Disconnect:
        self._websocket, self.id = None, None
        self._acks.close()
        self._queue.clear()
        return Disconnect(websocket.close_code or 1006, websocket.close_reason or "")

    async def _take(self, event: Event) -> None:
        if event.is_ack:
            self._acks.resolve(event)
        elif event.is_failure:
            self._acks.fail(event.ack_id, read_failure(event))
        elif event.name == PING and event.ack_id:
            await self._send(encode_answer(event))
        elif event.name == HELLO:
            self.id = _greeted_id(event)
        elif len(self._tasks) < self._max_running:
            self._start(self._handle(event))
        elif len(self._queue) < self._max_queued:
            self._queue.append(event)
        else:
            raise TooManyEvents(f"More than {self._max_queued} events of the server wait to be handled.")

    async def _handle(self, event: Event) -> None:
        try:
            if handler := self._handlers.get(event.name):
                result = await _call(handler, event)
            else:
                result = None
                for hook in self._hooks["unknown_event"]:
                    answer = await _call(hook, event)
                    result = result if answer is None else answer
            if event.ack_id:
                await self._send(encode_answer(event, _text(result)))
        except ConnectionClosed as error:
            logger.debug("The answer to event %.80r found no connection: %s", event.name, error)
        except Exception as error:
            await self._report(error, f"event {event.name[:80]!r}")
            await self._answer_failure(event, error)

    async def _answer_failure(self, event: Event, error: Exception) -> None:
        if not event.ack_id or self._websocket is None or self._websocket.subprotocol != SUBPROTOCOL:
            return
        failure = error if isinstance(error, EventFailed) else EventFailed("handler_error", "The handler failed.")
        try:
            await self._send(encode_failure(event, failure))
        except ConnectionClosed as closed:
            logger.debug("The failure of event %.80r found no connection: %s", event.name, closed)

    async def _ask(self, frame: Callable[[int], str], timeout: float | None) -> Event:
        acks = self._acks
        if self._websocket is None:
            raise ConnectionClosed("There is no connection to the server now.")
        ack_id, future = acks.open()
        try:
            await self._send(frame(ack_id))
        except BaseException:
            acks.discard(ack_id)
            raise
        return await acks.wait(ack_id, future, self._ack_timeout if timeout is None else timeout)

    async def _send(self, frame: str) -> None:
        if self._websocket is None:
            raise ConnectionClosed("There is no connection to the server now.")
        try:
            await self._websocket.send(frame)
        except WebSocketClosed as error:
            raise ConnectionClosed("The connection to the server is closed.") from error

    # Hooks and tasks

    def _add_hook(self, kind: str, function: _Function) -> _Function:
        self._hooks[kind].append(function)
        return function

    async def _run_hooks(self, kind: str, *args: Any) -> None:
        for hook in self._hooks[kind]:
            try:
                await _call(hook, *args)
            except Exception as error:
                await self._report(error, f"an on_{kind} hook")

    async def _report(self, error: Exception, doing: str) -> None:
        is_expected = isinstance(error, InvalidFrame | TooManyEvents)
        logger.log(
            logging.WARNING if is_expected else logging.ERROR,
            "The client failed at %s: %s: %s",
            doing,
            type(error).__name__,
            error,
            exc_info=None if is_expected else error,
        )
        for hook in self._hooks["error"]:
            try:
                await _call(hook, error)
            except Exception:
                logger.exception("An on_error hook failed itself.")

    def _start(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        while self._queue and len(self._tasks) < self._max_running:
            self._start(self._handle(self._queue.popleft()))

    def _process_exception(self, error: Exception) -> Exception | None:
        """Say which failures to connect are for good: all, until the first connection; then what the library says."""
        is_first = self._connected is not None and not self._connected.done()
        return error if is_first or not self._is_reconnecting else process_exception(error)


async def _call(function: Callable[..., Any], *args: Any) -> Any:
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


def _frame(name: str, data: object, ack_id: int = 0) -> str:
    check_event_name(name)
    return encode(Event(name, ack_id, _text(data)))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str(value)
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(
            f"A payload must be None, str or what JSON can hold, got {type(value).__name__}: {error}. Convert it first."
        ) from error


def _greeted_id(event: Event) -> str | None:
    try:
        greeting = event.json()
    except InvalidPayload:
        return None
    id = greeting.get("id") if isinstance(greeting, dict) else None
    return id if isinstance(id, str) else None


def _headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str]], cookies: Mapping[str, str] | None
) -> list[tuple[str, str]]:
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if cookies:
        pairs.append(("Cookie", "; ".join(f"{name}={value}" for name, value in cookies.items())))
    return pairs
