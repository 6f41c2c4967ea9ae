"""One WebSocket of an ``EtpClient``, from its handshake to its end: what comes in, what goes out, what is asked.

Rules kept here:

- Each event is a task of its own, up to a limit; more wait in order, up to another. Past that nothing more is read,
  which slows the server, unless this side waits for an answer, which may be behind them.
- An event with an ack is answered exactly once, on the connection it came on; where its handler failed not at all, or,
  by a server that speaks the extensions, with the failure.
- Whatever waits for an answer fails as soon as the connection ends.
- What the client refuses to take ends the connection soon, whether or not the server answers the close.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection as BaseWebSocket
from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.protocol import State

from django_etp.exceptions import (
    ConnectionClosed,
    InvalidFrame,
    InvalidPayload,
    MessageTooLarge,
    ProtocolError,
    TooManyEvents,
)
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.closing import Disconnect
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.failures import encode_failure, handler_failed, named_failure
from django_etp.protocol.frames import PING, SUBPROTOCOL, Event, check_event_name, decode, encode, encode_answer

from .handlers import ClientHandlers, is_end

__all__ = ["ClientConnection", "WebSocket"]

logger = logging.getLogger(__name__)

# A server that selects the extensions greets at once; after so many seconds it is taken for one that does not.
_GREETING_LIMIT = 10.0
# What refuses a message: a broken rule of the protocol, text that is not UTF-8, too many events, too large a message.
_REFUSALS = frozenset({1002, 1007, 1008, 1009})
# How long the server has to answer such a close, in seconds.
_CLOSE_WAIT = 1.0
# How long nothing is read while all places are taken and no handler ends, in seconds: answers and pings are not read
# either, so that a client that waited for ever would be as good as gone.
_STALL_LIMIT = 6.0
# While an answer is waited for, so many times as many events may wait.
_STRETCH = 10


class WebSocket(BaseWebSocket):
    """A WebSocket that is given up soon after a refusal; the library waits until the server has closed, or for ever."""

    def send_data(self) -> None:
        """Write what is to go out."""
        super().send_data()
        close = self.protocol.close_sent
        if close is not None and close.code in _REFUSALS and self.protocol.close_rcvd is None:
            self.loop.call_later(_CLOSE_WAIT, self.transport.abort)


class ClientConnection:
    """One connection to a server. ``id`` is its id there, ``None`` where the server does not tell it."""

    def __init__(
        self, websocket: BaseWebSocket, handlers: ClientHandlers, *, max_running: int, max_queued: int
    ) -> None:
        self.id: str | None = None
        self._websocket = websocket
        self._handlers = handlers
        self._max_running = max_running
        self._max_queued = max_queued
        self._acks = PendingAcks()
        self._queue: deque[Event] = deque()
        self._running = 0  # handlers of events; hooks and reports are tasks, too
        self._has_room = asyncio.Event()  # or may have: a handler has ended, or waits for an answer
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_given_up = False

    @property
    def speaks_extensions(self) -> bool:
        """Whether the server selected ``etp.ext.v1``."""
        return self._websocket.subprotocol == SUBPROTOCOL

    @property
    def is_open(self) -> bool:
        """Whether events can be sent."""
        return self._websocket.state is State.OPEN and not self._is_given_up

    @property
    def disconnect(self) -> Disconnect:
        """How the connection ended: what the server said, else what this side refused; 1006 where it broke."""
        sent, received = self._websocket.protocol.close_sent, self._websocket.protocol.close_rcvd
        if received is None and sent is not None and sent.code in _REFUSALS:
            return Disconnect(int(sent.code), sent.reason)
        return Disconnect(self._websocket.close_code or 1006, self._websocket.close_reason or "")

    async def greet(self) -> None:
        """Wait for the greeting of a server that speaks the extensions."""
        if not self.speaks_extensions:
            return
        try:
            async with asyncio.timeout(_GREETING_LIMIT):
                await self._take(await self._websocket.recv())
        except (TimeoutError, WebSocketClosed) as error:
            logger.debug("The server did not greet: %r", error)

    async def read(self) -> None:
        """Take what comes until the connection ends."""
        try:
            async for message in self._websocket:
                await self._take(message)
        except WebSocketClosed as closed:
            sent = None if closed.rcvd_then_sent else closed.sent
            if sent is not None and sent.code == 1009:
                error: ProtocolError = MessageTooLarge(f"The server sent a message that is too large: {sent.reason}.")
            elif sent is not None and sent.code in (1002, 1007):
                error = ProtocolError(f"The server broke the WebSocket protocol ({int(sent.code)}): {sent.reason}.")
            else:
                return
            await self._handlers.report(error, "a message")

    async def emit(self, name: str, data: object) -> None:
        """Send an event; see EtpClient.emit()."""
        await self.send(_frame(name, data))

    async def ask(self, name: str, data: object, timeout: float) -> Event:
        """Send an event and return its answer; see EtpClient.emit_with_ack()."""
        return await self._ask(lambda ack_id: _frame(name, data, ack_id), timeout)

    async def ping(self, timeout: float) -> None:
        """Return once the server has answered a ping."""
        await self._ask(lambda ack_id: encode(Event(PING, ack_id)), timeout)

    async def send(self, frame: str) -> None:
        """Send a frame.

        Raises:
            ConnectionClosed: this connection has ended, whether or not the client has another by now.
        """
        try:
            await self._websocket.send(frame)
        except WebSocketClosed as error:
            raise ConnectionClosed("The connection to the server is closed.") from error

    async def close(self, code: int, reason: str) -> None:
        """Close the connection; what waits for an answer fails before the server has closed too."""
        self.give_up()
        try:
            await self._websocket.close(code, reason)
        except asyncio.CancelledError:
            self.abort()  # nobody waits for the server to close: it may never do
            raise

    def give_up(self) -> None:
        """Let all that waits for an answer fail, and no more events begin."""
        self._acks.close()
        self._is_given_up = True
        self._max_running = self._max_queued = 0
        self._queue.clear()
        self._has_room.set()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a handler or hook as a task."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def is_busy(self) -> bool:
        """Whether handlers or hooks run still."""
        return bool(self._tasks)

    def abort(self) -> None:
        """Give up the connection at once, without a close: its reader was cancelled, or who closed it."""
        self._websocket.transport.abort()

    def cancel(self) -> None:
        """Cancel what still runs, but for the task that says so."""
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    def _start_handling(self, event: Event) -> None:
        self._running += 1
        self.start(self._handle(event))

    def _handled(self) -> None:
        self._running -= 1
        self._has_room.set()
        while self._queue and self._running < self._max_running:
            self._start_handling(self._queue.popleft())

    async def _take(self, message: str | bytes) -> None:
        try:
            event = decode(message)
        except InvalidFrame as error:
            self.start(self._handlers.report(error, "a frame of the server"))
            return
        match meaning_of(event, speaks_extensions=self.speaks_extensions):
            case "answer":
                self._acks.settle(event)
            case "ping":
                with suppress(ConnectionClosed):
                    await self.send(encode_answer(event))
            case "greeting":
                self.id = _greeted_id(event)
            case "event" if self._running < self._max_running:
                self._start_handling(event)
            case "event" if self._max_running:  # else it ends, and handles no more events
                await self._enqueue(event)

    async def _enqueue(self, event: Event) -> None:
        """Let an event wait for a handler; where too many wait, do not return before one has ended."""
        try:
            while self._is_full:
                self._has_room.clear()
                async with asyncio.timeout(_STALL_LIMIT):
                    await self._has_room.wait()
        except TimeoutError:
            self._refuse(event)
            return
        if self._running < self._max_running:
            self._start_handling(event)
        elif self._max_running:
            self._queue.append(event)
            # What is here already is received without a turn of the loop, in which those before it would end.
            await asyncio.sleep(0)

    @property
    def _is_full(self) -> bool:
        limit = self._max_queued * _STRETCH if len(self._acks) else self._max_queued
        return self._max_running > 0 and self._running >= self._max_running and len(self._queue) >= limit

    def _refuse(self, event: Event) -> None:
        error = TooManyEvents(
            f"{self._max_queued:,} events of the server wait to be handled, and in {_STALL_LIMIT:g} s no handler has "
            "ended; the connection is closed with 1008."
        )
        self.give_up()
        self.start(self._handlers.report(error, "an event of the server"))
        self.start(self._end_refused(event, error))  # read() goes on, and sees the server close

    async def _end_refused(self, event: Event, error: TooManyEvents) -> None:
        try:
            async with asyncio.timeout(_CLOSE_WAIT):
                await self._answer_failure(event, error)
                await self._websocket.close(1008, "too many events")
        except TimeoutError:
            self.abort()  # it does not even read

    async def _handle(self, event: Event) -> None:
        try:
            result = await self._handlers.answer(event, speaks_extensions=self.speaks_extensions)
            if event.ack_id:
                await self._answer(event, encode_answer(event, _text(result)))
        except BaseException as error:
            if is_end(error):
                raise
            if isinstance(error, ConnectionClosed) and self._websocket.state is not State.OPEN:
                logger.debug("The handler of event %.80r found no connection: %s", event.name, error)
            else:
                await self._handlers.report(error, f"event {event.name[:80]!r}")
                await self._answer_failure(event, error)
        finally:
            self._handled()

    async def _answer_failure(self, event: Event, error: BaseException) -> None:
        if event.ack_id and self.speaks_extensions:
            await self._answer(event, encode_failure(event, named_failure(error) or handler_failed()))

    async def _answer(self, event: Event, frame: str) -> None:
        try:
            await self.send(frame)
        except ConnectionClosed as error:
            logger.debug("The answer to event %.80r found no connection: %s", event.name, error)

    async def _ask(self, frame: Callable[[int], str], timeout: float) -> Event:
        ack_id, future = self._acks.open()
        self._has_room.set()
        try:
            sending = self.send(frame(ack_id))
        except BaseException:
            self._acks.discard(ack_id)
            raise
        return await self._acks.wait(ack_id, future, timeout, sending)


def _frame(name: str, data: object, ack_id: int = 0) -> str:
    check_event_name(name)
    return encode(Event(name, ack_id, _text(data)))


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return str.__str__(value)  # bare text: a member of a str Enum would give its name
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(
            f"A payload must be None, str or what JSON can hold, got {type(value).__name__}: {error}. "
            "Convert it first.",
            is_outgoing=True,
        ) from error


def _greeted_id(event: Event) -> str | None:
    try:
        greeting = event.json()
    except InvalidPayload:
        return None
    id = greeting.get("id") if isinstance(greeting, dict) else None
    return id if isinstance(id, str) else None
