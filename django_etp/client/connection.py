"""One WebSocket of an ``EtpClient``, from its handshake to its end: it receives, sends and asks.

Rules kept here:

- Each event is handled by a task of its own; see ``EventQueue`` for the limits.
- An event with an ack is answered exactly once, on the connection that it came on. If its handler failed, a server that
  speaks the extensions receives the failure, and any other server nothing.
- Pending questions fail as soon as the connection ends.
- A message that the client refuses ends the connection soon, whether or not the server answers the close.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.protocol import State

from django_etp.exceptions import ConnectionClosed, InvalidFrame, MessageTooLarge, ProtocolError, TooManyEvents
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.closing import Disconnect
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.failures import encode_failure, handler_failed, named_failure
from django_etp.protocol.frames import (
    AUTH,
    PING,
    ROOMS_SUBPROTOCOL,
    SUBPROTOCOL,
    Event,
    check_event_name,
    decode,
    encode,
    encode_answer,
)
from django_etp.protocol.pending_streams import PendingStreams
from django_etp.quoting import line_of, one_line

from .content import expires_in, greeted_id, text_of
from .event_queue import EventQueue
from .handlers import ClientHandlers, is_end
from .rooms import ClientRooms
from .websocket import CLOSE_WAIT, REFUSALS, BaseWebSocket

__all__ = ["ClientConnection"]

logger = logging.getLogger(__name__)

# A server that cannot answer a handshake with HTTP 503 accepts it and closes with this; daphne adds 3000.
TRY_AGAIN_CODES = frozenset({1013, 4013})
# A server that selects the extensions greets at once. One that has not after so many seconds is not waited for.
_GREETING_LIMIT = 10.0


class ClientConnection:
    """One connection to a server.

    Attributes:
        id: its id on the server; ``None`` if the server did not send it.
        expires_in: how long the login by a token lasts from the greeting on, in seconds; ``None`` if it does not end.
        speaks_extensions: whether the server selected ``etp.ext.v1``, or ``etp.ext.v2``.
        speaks_rooms: whether it selected ``etp.ext.v2``, and has declared rooms and streamed answers.
        streams: the streamed answers that are being read.
    """

    def __init__(
        self,
        websocket: BaseWebSocket,
        handlers: ClientHandlers,
        rooms: ClientRooms,
        *,
        max_running: int,
        max_queued: int,
    ) -> None:
        self.id: str | None = None
        self.expires_in: float | None = None
        self.speaks_rooms = websocket.subprotocol == ROOMS_SUBPROTOCOL
        self.speaks_extensions = self.speaks_rooms or websocket.subprotocol == SUBPROTOCOL
        self._websocket = websocket
        self._handlers = handlers
        self._rooms = rooms
        self._acks = PendingAcks()
        self._answered: dict[int, Callable[[Event], None]] = {}
        self._events = EventQueue(
            lambda event: self.start(self._handle(event)), self._acks, max_running=max_running, max_queued=max_queued
        )
        self.streams = PendingStreams(self._acks, self._events.has_room, self.send, can_stop=self.speaks_rooms)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_given_up = False

    @property
    def is_open(self) -> bool:
        """Whether events can be sent."""
        return self._websocket.state is State.OPEN and not self._is_given_up

    @property
    def disconnect(self) -> Disconnect:
        """How the connection ended: the server's close, or else this side's refusal; 1006 if it broke."""
        sent, received = self._websocket.protocol.close_sent, self._websocket.protocol.close_rcvd
        if received is None and sent is not None and sent.code in REFUSALS:
            return Disconnect(int(sent.code), sent.reason)
        return Disconnect(self._websocket.close_code or 1006, self._websocket.close_reason or "")

    async def greet(self) -> None:
        """Wait for the greeting of a server that speaks the extensions.

        Raises:
            WebSocketClosed: the server closed the connection in its place, and asks to try again later.
        """
        if not self.speaks_extensions:
            return
        try:
            async with asyncio.timeout(_GREETING_LIMIT):
                await self._receive(await self._websocket.recv())
        except (TimeoutError, WebSocketClosed) as error:
            if isinstance(error, WebSocketClosed) and self._websocket.close_code in TRY_AGAIN_CODES:
                raise
            logger.debug("The server sent no greeting: %.300r", error)

    async def read(self) -> None:
        """Receive messages until the connection ends."""
        try:
            async for message in self._websocket:
                await self._receive(message)
        except WebSocketClosed as closed:
            sent = None if closed.rcvd_then_sent else closed.sent
            if sent is not None and sent.code == 1009:
                error: ProtocolError = MessageTooLarge(
                    f"The server sent a message that is too large: {one_line(sent.reason)}."
                )
            elif sent is not None and sent.code in (1002, 1007):
                error = ProtocolError(
                    f"The server broke the WebSocket protocol ({int(sent.code)}): {one_line(sent.reason)}."
                )
            else:
                return
            await self._handlers.report(error, "reading a message")

    async def emit(self, name: str, data: object) -> None:
        """Send an event; see EtpClient.emit()."""
        check_event_name(name)
        await self.emit_named(name, data)

    async def emit_named(self, name: str, data: object) -> None:
        """Send an event with a name on the wire, which may be a reserved one."""
        await self.send(encode(Event(name, 0, text_of(data))))

    async def ask(self, name: str, data: object, timeout: float) -> Event:
        """Send an event and return its answer; see EtpClient.emit_with_ack()."""
        check_event_name(name)
        return await self.ask_named(name, data, timeout)

    async def ask_named(
        self, name: str, data: object, timeout: float, answered: Callable[[Event], None] | None = None
    ) -> Event:
        """Send an event with a name on the wire, which may be a reserved one, and return its answer.

        ``answered`` is called with the answer before anything else is read; not if the event failed.
        """
        text = text_of(data)

        def frame(ack_id: int) -> str:
            if answered is not None:
                self._answered[ack_id] = answered
            return encode(Event(name, ack_id, text))

        return await self._ask(frame, timeout)

    async def ping(self, timeout: float) -> None:
        """Return once the server has answered a ping."""
        await self._ask(lambda ack_id: encode(Event(PING, ack_id)), timeout)

    async def renew(self, token: str | None, timeout: float) -> float | None:
        """Renew the login with a token; return how long it lasts now, in seconds, or ``None`` if it does not end."""
        data = json.dumps({"token": token})
        return expires_in(await self._ask(lambda ack_id: encode(Event(AUTH, ack_id, data)), timeout))

    async def send(self, frame: str) -> None:
        """Send a frame.

        Raises:
            ConnectionClosed: this connection has ended. The client may have another one by now.
        """
        try:
            await self._websocket.send(frame)
        except WebSocketClosed as error:
            raise ConnectionClosed("The connection to the server is closed.") from error

    async def close(self, code: int, reason: str) -> None:
        """Close the connection; pending questions fail at once, before the server has closed too."""
        self.give_up()
        try:
            await self._websocket.close(code, reason)
        except asyncio.CancelledError:
            self.abort()  # without waiting for the server's close, which may never come
            raise

    def give_up(self) -> None:
        """Let pending questions fail, and start no more handlers of events."""
        self._acks.close()
        self._is_given_up = True
        self._events.close()

    def start(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run a handler or hook as a task."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def is_busy(self) -> bool:
        """Whether handlers or hooks still run."""
        return bool(self._tasks)

    def abort(self) -> None:
        """Drop the connection without a close, and let pending questions fail."""
        self.give_up()
        self._websocket.transport.abort()

    def cancel(self) -> None:
        """Cancel the handlers and hooks that still run, except the calling one."""
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    async def _receive(self, message: str | bytes) -> None:
        try:
            event = decode(message)
        except InvalidFrame as error:
            self.start(self._handlers.report(error, "reading a frame"))
            return
        match meaning_of(event, speaks_extensions=self.speaks_extensions):
            case "answer":
                if (answered := self._answered.pop(event.ack_id, None)) and event.is_ack:
                    answered(event)
                self._acks.settle(event)
            case "ping":
                await self._answer(event, encode_answer(event))
            case "part":
                await self.streams.put(event)
            case "greeting":
                self.id, self.expires_in = greeted_id(event), expires_in(event)
            case "event" | "stop":
                if self.speaks_rooms:
                    self._rooms.note(event)
                try:
                    await self._events.put(event)
                except TooManyEvents as error:
                    self.give_up()
                    self.start(self._handlers.report(error, "queueing an event"))
                    self.start(self._refuse(event, error))  # a task, so that read() receives the server's close

    async def _refuse(self, event: Event, error: TooManyEvents) -> None:
        try:
            async with asyncio.timeout(CLOSE_WAIT):
                await self._answer_failure(event, error)
                await self._websocket.close(1008, "too many events")
        except TimeoutError:
            self.abort()  # the server does not even read

    async def _handle(self, event: Event) -> None:
        try:
            if self.speaks_rooms and self._rooms.concerns(event):
                result = await self._rooms.answer(event)
            else:
                result = await self._handlers.answer(event, speaks_extensions=self.speaks_extensions)
            if event.ack_id:
                await self._answer(event, encode_answer(event, text_of(result)))
        except BaseException as error:
            if is_end(error):
                raise
            if isinstance(error, ConnectionClosed) and self._websocket.state is not State.OPEN:
                logger.debug(
                    "The handler of event %.80r failed after the connection ended: %s", event.name, line_of(error)
                )
            else:
                await self._handlers.report(error, f"handling event {event.name[:80]!r}")
                await self._answer_failure(event, error)
        finally:
            self._events.handled()

    async def _answer_failure(self, event: Event, error: BaseException) -> None:
        if event.ack_id and self.speaks_extensions:
            await self._answer(event, encode_failure(event, named_failure(error) or handler_failed()))

    async def _answer(self, event: Event, frame: str) -> None:
        try:
            await self.send(frame)
        except ConnectionClosed as error:
            logger.debug("The answer to event %.80r was dropped after the connection ended: %s", event.name, error)

    async def _ask(self, frame: Callable[[int], str], timeout: float) -> Event:
        ack_id, future = self._acks.open()
        self._events.question_opened()
        try:
            sending = self.send(frame(ack_id))
        except BaseException:
            self._acks.discard(ack_id)
            raise
        return await self._acks.wait(ack_id, future, timeout, sending)
