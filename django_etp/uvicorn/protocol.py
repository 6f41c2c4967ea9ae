"""The protocol class that uvicorn makes for each connection that asks for an upgrade to WebSocket.

Rules kept here:

- An application sees what uvicorn's own classes show it: the scope, the messages and their order, the errors of
  ``send``, the close codes.
- What is sent in one turn of the event loop is one write; see writes.py. A sender waits while the client is behind.
- A client that sends faster than the application receives is read no further. Its pings are answered only while it
  takes what is sent.
- A close frame goes out once, and no frame follows it.
- A client has 10 s for its end of the closing handshake.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.server import ServerState

from django_etp.draining import draining

from .application import ClientDisconnected, call
from .frames import CLOSE, FIN, PING, PONG, FrameError, close_frame, encode, parse_close
from .handshake import Refusal, response
from .incoming import Incoming, Message, Take
from .keepalive import Keepalive
from .opening import Opening
from .outgoing import Outgoing
from .reader import Control, Reader

__all__ = ["Protocol"]

logger = logging.getLogger("uvicorn.error")  # where uvicorn's own classes write these lines

# Before the application's answer; messages go both ways; it has closed or refused; the client is lost or has our close.
_CONNECTING, _OPEN, _CLOSED, _GONE = range(4)
_CLOSE_TIMEOUT = 10.0
_MAX_EARLY = 64 * 1024  # bytes that a client may send before the application accepts


class Protocol(asyncio.Protocol):
    """The server's side of one WebSocket.

    Args:
        config, server_state, app_state: uvicorn's; ``_loop`` is not used.

    Attributes:
        offer: sends a text without an ASGI message; see Outgoing. Part of the ASGI extension ``django_etp.direct``.
        transport: the transport, once the connection is made.
    """

    __slots__ = (
        "_app_state",
        "_config",
        "_incoming",
        "_is_paused",
        "_keepalive",
        "_opening",
        "_outgoing",
        "_reader",
        "_server_state",
        "_state",
        "_timer",
        "offer",
        "transport",
    )

    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: object = None
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._state = _CONNECTING
        self._opening: Opening | None = None
        self._reader = Reader(config.ws_max_size)
        self._incoming = Incoming(config.ws_max_queue)
        self._is_paused = False
        self._keepalive: Keepalive | None = None
        self._timer: asyncio.TimerHandle | None = None  # of the closing handshake

    @property
    def max_size(self) -> int:
        """The most bytes of a message, unpacked; it may be lowered for this connection."""
        return self._reader.max_size

    @max_size.setter
    def max_size(self, value: int) -> None:
        self._reader.max_size = value

    @property
    def unsent_bytes(self) -> int:
        """The bytes that were sent and wait for the client."""
        return self._outgoing.unsent_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport from uvicorn's HTTP protocol."""
        self.transport = cast(asyncio.Transport, transport)
        self._outgoing = Outgoing(self.transport)
        self.offer = self._outgoing.offer
        cast(set[Any], self._server_state.connections).add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the application's waits."""
        self._server_state.connections.discard(cast(Any, self))
        self._end({"type": "websocket.disconnect", "code": 1006 if self._state == _CONNECTING else 1005})
        self._outgoing.drop()

    def data_received(self, data: bytes) -> None:
        """Take the request, then frames."""
        if self._state == _OPEN and not self._is_paused:
            writes = self._outgoing.writes
            writes.reading = self._outgoing
            try:
                if (text := self._reader.read_one(data)) is None:
                    self._read(data)
                elif self._incoming.put(text):
                    self._pause(True)
            finally:
                writes.end_read(self._outgoing)
        elif self._state == _CONNECTING and self._opening is None:
            self._open(data)
        elif self._state == _CLOSED and not self._is_paused:
            self._read(data)
        elif self._state != _GONE:  # then the client is to get our close, and bytes behind its error are dropped
            self._reader.feed(data)
            if not self._is_paused and self._reader.waiting > _MAX_EARLY:
                self._pause(True)

    def pause_writing(self) -> None:
        """Let senders wait."""
        self._outgoing.pause()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._outgoing.resume()

    def shutdown(self) -> None:
        """Close with 1012, or refuse with 500, since the server is ending; leave the close to the drain, if it does."""
        if self._state == _OPEN and draining.closes is not None and draining.closes(self):
            return
        if self._state == _CONNECTING:
            self._refuse_with_500()
        elif self._state == _OPEN:
            self._outgoing.write(close_frame(1012))
        self._end({"type": "websocket.disconnect", "code": 1012})
        self._outgoing.close()

    def _open(self, data: bytes) -> None:
        try:
            opening = self._opening = Opening(data, self.transport, self._config, self._app_state)
        except Refusal as refusal:
            self._state = _GONE
            self.transport.write(refusal.response)
            self.transport.close()
            return
        self._incoming.messages.append({"type": "websocket.connect"})
        task, tasks = asyncio.get_running_loop().create_task(self._run(opening.scope)), self._server_state.tasks
        task.add_done_callback(tasks.discard)
        tasks.add(task)

    async def _run(self, scope: dict[str, Any]) -> None:
        if await call(self._config.loaded_app, scope, self.receive, self.send) and self._state == _CONNECTING:
            logger.error("ASGI callable returned without completing handshake.")
        self._refuse_with_500()
        if self._timer is None:
            self._outgoing.close()

    def receive(self) -> Coroutine[Any, Any, Message]:
        """Receive the next message for the application."""
        return self._incoming.receive(self._read_on)

    def receive_by(self, take: Take) -> asyncio.Future[Message | None]:
        """Pass on the client's messages by calls of ``take`` with their data, in place of receive().

        Part of the ASGI extension ``django_etp.direct``, from the ``websocket.connect`` on. The future is done with
        ``None`` once ``take()`` has returned True, and messages wait until the next call; with the
        ``websocket.disconnect`` at the end; or with what ``take()`` raises.
        """
        return self._incoming.pass_to(take, self._read_on)

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message of the application; wait while the client is behind.

        Raises:
            ClientDisconnected: the client is gone.
        """
        if self._outgoing.drained is not None:
            await self._outgoing.until_drained()
        if self._state == _OPEN:
            if message["type"] == "websocket.send":
                self._outgoing.send(message)
            elif message["type"] == "websocket.close":
                self._close(message.get("code", 1000), message.get("reason") or "")
            else:
                raise RuntimeError(
                    f"Expected ASGI message 'websocket.send' or 'websocket.close', but got '{message['type']}'."
                )
        elif self._state == _CONNECTING:
            self._answer(message)
        elif self._state == _GONE:
            raise ClientDisconnected("The client is gone.")
        else:
            raise RuntimeError(f"Unexpected ASGI message '{message['type']}', after sending 'websocket.close'.")

    def _answer(self, message: dict[str, Any]) -> None:
        opening = cast(Opening, self._opening)
        if (data := opening.answer(message, self._server_state.default_headers)) is None:
            return
        self._opening = None
        self.transport.write(data)
        if not opening.is_accepted:
            self._end({"type": "websocket.disconnect", "code": 1006}, _CLOSED)
            self.transport.close()
            return
        self._state = _OPEN
        self._outgoing.open(opening.window_bits)
        self._reader.takes_compressed = opening.window_bits > 0
        if interval := self._config.ws_ping_interval:
            self._keepalive = Keepalive(self._outgoing.write, self._lose, interval, self._config.ws_ping_timeout)
            self._keepalive.start()
        self._read()

    def _refuse_with_500(self) -> None:
        if self._state == _CONNECTING and self._opening is not None:
            self._end({"type": "websocket.disconnect", "code": 1006})
            self.transport.write(response(500, (), b"Internal Server Error"))

    def _read(self, data: bytes = b"") -> None:
        incoming, is_full = self._incoming, False
        try:
            for event in self._reader.read(data):
                if type(event) is Control:
                    self._take_control(event)
                    if self._state == _GONE:
                        break
                elif self._state == _OPEN:
                    if incoming.put(event):
                        is_full = True
                        break
                elif self._state == _GONE:
                    break
        except FrameError as error:
            self._fail(error.code, error.reason)
        if is_full is not self._is_paused:
            self._pause(is_full)

    def _read_on(self) -> None:
        if self._is_paused and self._state == _OPEN:
            self._read()

    def _pause(self, is_paused: bool) -> None:
        self._is_paused = is_paused
        if not self.transport.is_closing():
            (self.transport.pause_reading if is_paused else self.transport.resume_reading)()

    def _take_control(self, frame: Control) -> None:
        if frame.opcode == PONG:
            if self._keepalive is not None:
                self._keepalive.pong(frame.payload)
        elif frame.opcode == PING:
            if self._state == _OPEN and self._outgoing.drained is None:
                self._outgoing.write(encode(FIN | PONG, frame.payload))
        else:
            code, reason = parse_close(frame.payload)
            if self._state == _OPEN:
                self._outgoing.write(encode(FIN | CLOSE, frame.payload))
            self._end({"type": "websocket.disconnect", "code": code, "reason": reason})
            self._outgoing.close()

    def _lose(self) -> None:
        self._fail(1011, "keepalive ping timeout")
        self.transport.close()

    def _close(self, code: int, reason: str) -> None:
        self._outgoing.write(close_frame(code, reason))
        self._end({"type": "websocket.disconnect", "code": code, "reason": reason}, _CLOSED)
        self._timer = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self._outgoing.close)
        self._read()

    def _fail(self, code: int, reason: str) -> None:
        """Close for what the client did, and wait for its end: closing at once might drop our close on the way."""
        if self._state == _OPEN:
            self._outgoing.write(close_frame(code, reason))
        self._end({"type": "websocket.disconnect", "code": code, "reason": reason})
        self._outgoing.end()
        self._timer = asyncio.get_running_loop().call_later(_CLOSE_TIMEOUT, self.transport.abort)

    def _end(self, disconnect: dict[str, Any], state: int = _GONE) -> None:
        self._incoming.end(disconnect)
        self._outgoing.refuse_offers()
        self._state = state
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
