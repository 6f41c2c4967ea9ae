"""The outbox of one connection: a bounded queue of frames for one client, which no sender has to wait for.

Rules kept here:

- One write is under way at a time. New frames wait behind it, and behind the frames that wait already.
- A client that takes what is written is not closed, however much waits. One that takes nothing, or next to nothing
  while much waits, is closed with 1013: see django_etp.concurrency.watch. Nothing can be taken before the accept.
- A sender that may wait does so while much waits, so that it sends at the client's pace.
- Frames wait until the accept, and a refusal drops them. A close goes out once; nothing follows it.
- A server that offers calls gets a frame at once, if none waits and the client is not behind: see direct.py.
- A frame that the server refuses to write, as daphne does with large ones, ends the connection with 1011.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from django_etp.concurrency.flusher import Flusher
from django_etp.conf import get_settings
from django_etp.protocol.frames import size_of

from .asgi import Send, is_of_a_client_that_is_gone, send_close
from .direct import Server
from .state import CLOSED, CLOSING, CONNECTING, OPEN, State
from .transport import abort, unsent_bytes

__all__ = ["Outbox"]

logger = logging.getLogger(__name__)

_MAX_FRAMES = 65_536  # an outbox with more is judged as one with more than MAX_OUTBOX bytes
_LAST_BOUND = 16  # of frames and of bytes: so many times the first bound
_FRAMES_ENOUGH, _BYTES_ENOUGH = 256, 1024 * 1024  # a sender that may wait does so while more wait
_CLOSE_LIMIT = 5.0  # how long a client that reads nothing may hold up its close, in seconds


class Owner(Protocol):
    """The connection that an outbox belongs to."""

    def reads_too_slowly(self, facts: str) -> None:
        """Close the connection with 1013; ``facts`` describe what the client took and what waits."""

    def write_failed(self, error: Exception) -> None:
        """Record that the server refused a frame, and that the connection was closed with 1011."""


class Outbox:
    """Writes one connection's messages to the ASGI server.

    Args:
        send: the ASGI server's.
        owner: is notified when the outbox is full, or a write has failed.
        flusher: writes the outboxes of the event loop.
        server: takes frames by calls, if it offers that.

    Attributes:
        state: the state of the connection.
    """

    __slots__ = (
        "_close_message",
        "_closed",
        "_drained",
        "_flusher",
        "_frames",
        "_is_writing",
        "_owner",
        "_put",
        "_send",
        "_server",
        "_taken",
        "_writer",
        "state",
    )

    def __init__(self, send: Send, owner: Owner, flusher: Flusher, server: Server | None = None) -> None:
        self._send = send
        self._server = server
        # Until the end: the owner holds its outbox, and a reference cycle would outlive both.
        self._owner: Owner | None = owner
        self._flusher = flusher
        self._frames: deque[str] | None = None  # made on first use: an empty one takes 600 bytes
        self._put = self._taken = 0  # in bytes; the server takes what was put in, and the difference waits
        self._is_writing = False
        self._close_message: dict[str, Any] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[Any] | None = None
        self.state: State = CONNECTING

    async def accept(
        self, subprotocol: str | None = None, headers: Sequence[tuple[bytes, bytes]] = (), greeting: str = ""
    ) -> None:
        """Accept the handshake, then write the greeting, if there is one, and the frames that wait."""
        message: dict[str, Any] = {"type": "websocket.accept", "subprotocol": subprotocol}
        if headers:
            message["headers"] = list(headers)
        self._is_writing = True  # a close that is requested meanwhile must go behind it
        try:
            await self._send(message)
        finally:
            self._is_writing = False
        if self.state is CONNECTING:
            self.state = OPEN
        if greeting and self.state is OPEN:
            self._frames = deque([greeting, *(self._frames or ())])
            self._put += len(greeting)
        self._start_writing()

    @property
    def is_waiting(self) -> bool:
        """See Writer."""
        return self._is_writing or bool(self._frames)

    @property
    def waiting_size(self) -> int:
        """See Writer."""
        return self._put - self._taken

    @property
    def is_far_behind(self) -> bool:
        """Whether so much waits that a sender which may wait does so."""
        return self._put - self._taken > _BYTES_ENOUGH or len(self._frames or ()) > _FRAMES_ENOUGH

    @property
    def is_over(self) -> bool:
        """See Writer."""
        return self._put - self._taken > get_settings().max_outbox or len(self._frames or ()) > _MAX_FRAMES

    @property
    def taken(self) -> int:
        """The bytes that the client's side has taken; see takes_parts."""
        return self._taken - (unsent_bytes(self._send) or 0)

    @property
    def takes_parts(self) -> bool:
        """See Writer."""
        return unsent_bytes(self._send) is not None

    def give_up(self, seconds: float) -> None:
        """See Writer."""
        if self._owner is not None and self.state is OPEN:
            facts = f"has taken next to nothing for {seconds:.3g} s, and {self.waiting_size:,} bytes wait"
            self._owner.reads_too_slowly(facts)

    def write(self, frame: str) -> None:
        """Write a frame soon, behind all others, without waiting; drop it after a close."""
        state, frames, server = self.state, self._frames, self._server
        if state is not OPEN and state is not CONNECTING:
            return
        if server is not None and state is OPEN and not (self._is_writing or frames) and server.offer(frame):
            return
        if frames is None:
            frames = self._frames = deque()
        frames.append(frame)
        self._put += len(frame) if frame.isascii() else size_of(frame)
        if state is OPEN and not self._is_writing:
            self._is_writing = True
            self._flusher.add(self)
        elif self._put - self._taken > self._flusher.max_outbox or len(frames) > _MAX_FRAMES:
            self._exceed()

    def _exceed(self) -> None:
        times = _LAST_BOUND if self.state is OPEN else 1
        frames, size, waiting = _MAX_FRAMES * times, self._flusher.max_outbox * times, len(self._frames or ())
        if waiting <= frames and (self._put - self._taken <= size or waiting == 1):
            self._flusher.watch.add(self)
        elif self._owner is not None:
            self._owner.reads_too_slowly(f"lets more than {size:,} bytes or {frames:,} frames wait")

    def begin(self, frame: str) -> Coroutine[Any, Any, None] | None:
        """Write a frame behind all others; return what the sender is to await, if a call is not enough."""
        if self.state is OPEN and not self._is_writing:  # no frame waits then
            if (server := self._server) is not None and server.offer(frame):
                return None
            if server is None and self._flusher.is_idle:
                self._flusher.take_turn(self)
                return self._write_at_once(frame)  # the caller runs in a task, so the frame needs no other
        self.write(frame)
        return self._until_few_wait() if self._put != self._taken and self.is_far_behind else None

    async def _write_at_once(self, frame: str) -> None:
        # This one frame only, so that cancelling its sender loses no frame of another.
        self._is_writing = True
        size = len(frame) if frame.isascii() else size_of(frame)
        self._put += size
        try:
            await self._send({"type": "websocket.send", "text": frame})
        except Exception as error:
            await self._close_after(error)
        finally:
            self._taken += size
            self._is_writing = False
            if self._frames or self._close_message:
                self._start_writing()

    async def _until_few_wait(self) -> None:
        while self.state is OPEN and self.is_far_behind:
            if self._drained is None:
                self._drained = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._drained)

    def close(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Send a close behind the frames that wait, or in their place (``drop``); before the accept refuse with 403."""
        if self.state is CLOSING or self.state is CLOSED:
            return
        if drop or self.state is CONNECTING:
            self._forget_frames()
        self.state = CLOSING
        self._close_message = {"type": "websocket.close", "code": code, "reason": reason}
        self._start_writing()

    def abandon(self) -> None:
        """Write nothing more: the client is gone."""
        self.state = CLOSED
        self._owner = None
        self._close_message = None
        self._forget_frames()
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)

    async def closed(self) -> None:
        """Wait until the close has gone out; give up on a client that reads nothing for 5 s."""
        if self.state is CLOSED:
            return
        self._closed = self._closed or asyncio.get_running_loop().create_future()
        taken = self.taken
        await asyncio.wait([self._closed], timeout=_CLOSE_LIMIT)
        if self.state is not CLOSED:
            self.abandon()
            self._abort_unless_above(taken)
            if self._writer is not None:
                self._writer.cancel()

    def _abort_unless_above(self, taken: int) -> None:
        if self.taken <= taken:  # uvicorn keeps the socket open while data waits, which a client may still read
            abort(self._send)

    def _start_writing(self) -> None:
        if not self._is_writing and (self._frames or self._close_message):
            self._is_writing = True
            self._flusher.add(self)

    async def flush(self) -> None:
        """Write all frames that wait, and the close, if there is one."""
        send = self._send
        self._writer = asyncio.current_task()
        try:
            while frames := self._frames:
                frame = frames.popleft()
                await send({"type": "websocket.send", "text": frame})
                self._taken += len(frame) if frame.isascii() else size_of(frame)
                if self._drained is not None and not self.is_far_behind:
                    self._notify_drained()
        except Exception as error:
            await self._close_after(error)
        else:
            if self._close_message:
                await self._close_with(self._close_message)
        finally:
            self._is_writing, self._writer = False, None

    async def _close_after(self, error: Exception) -> None:
        # The client may still be there: a server may refuse a frame and keep the connection.
        owner, message = self._owner, self._close_message
        if self.state is OPEN:
            self.state = CLOSING
        self._forget_frames()
        failure = {"type": "websocket.close", "code": 1011, "reason": "a message could not be written"}
        was_there = await self._close_with(message or failure)
        if was_there and message is None and owner is not None and not is_of_a_client_that_is_gone(error):
            owner.write_failed(error)
        else:
            logger.debug("A write failed, the client is gone: %r", error)

    async def _close_with(self, message: dict[str, Any]) -> bool:
        """Write a close; return whether the server took it. Once the client is gone, a server may raise anything."""
        self._close_message = None
        taken = self.taken
        try:
            async with asyncio.timeout(_CLOSE_LIMIT):
                await send_close(self._send, message)
            return True
        except Exception as error:
            logger.debug("A close could not be written, the client is gone or reads too slowly: %r", error)
            self._abort_unless_above(taken)
            return False
        finally:
            self.abandon()

    def _forget_frames(self) -> None:
        self._frames = None
        self._notify_drained()

    def _notify_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)
