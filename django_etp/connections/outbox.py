"""The outbox of one connection: what it is sent, in order, without anyone waiting for its reader.

Rules kept here:

- One write is under way at a time. While it is, or while frames wait, new frames wait behind them in the outbox.
- The outbox is bounded in frames and in bytes; a connection whose outbox is full is closed with 1013.
- Until the outbox opens (the accept), frames wait; a rejected connection's are dropped.
- A close goes out behind the frames before it, once; nothing follows it.
- A frame that the server refuses to write, as daphne does with large ones, ends the connection with 1011.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from django_etp.concurrency.flusher import Flusher

from .asgi import Send

__all__ = ["Outbox"]

logger = logging.getLogger(__name__)

# What may wait for a reader. Frames of a room are shared between its members, so the bytes are an upper bound.
_MAX_FRAMES = 65_536
_MAX_BYTES = 16 * 1024 * 1024
# A sender of its own connection waits above this many frames, so that a long answer finds its reader's pace.
_FULL_ENOUGH = 256
# How long a reader that takes nothing may hold up its close, in seconds.
_CLOSE_LIMIT = 5.0


class Owner(Protocol):
    """Whose outbox it is."""

    def outbox_is_full(self) -> None:
        """Give up the connection: its reader is too far behind."""

    def write_failed(self, error: Exception) -> None:
        """Record that the server refused a frame, and that the connection was closed with 1011."""


class Outbox:
    """Writes one connection's messages to the ASGI server.

    Args:
        send: the server's.
        owner: is told where the outbox is full.
        flusher: the loop's; it says when what waits is written.
    """

    __slots__ = (
        "_bytes",
        "_close_message",
        "_closed",
        "_drained",
        "_flusher",
        "_frames",
        "_is_writing",
        "_owner",
        "_send",
        "_writer",
        "is_closed",
        "is_closing",
        "is_open",
    )

    def __init__(self, send: Send, owner: Owner, flusher: Flusher) -> None:
        self._send = send
        self._owner: Owner | None = owner  # until the end: it has its outbox, and a circle would outlive both
        self._flusher = flusher
        self._frames: deque[str] | None = None  # made when needed: an empty one has 600 bytes
        self._bytes = 0
        self._is_writing = False
        self._close_message: dict[str, Any] | None = None
        self._closed: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._writer: asyncio.Task[Any] | None = None
        self.is_open = False
        self.is_closing = False
        self.is_closed = False

    async def accept(
        self, subprotocol: str | None = None, headers: Sequence[tuple[bytes, bytes]] = (), greeting: str = ""
    ) -> None:
        """Accept the handshake, then let go what waits, behind the greeting where there is one."""
        message: dict[str, Any] = {"type": "websocket.accept", "subprotocol": subprotocol}
        if headers:
            message["headers"] = list(headers)
        self._is_writing = True  # a close that is asked for meanwhile must go behind it
        try:
            await self._send(message)
        finally:
            self._is_writing = False
        self.is_open = not self.is_closing
        if greeting and self.is_open:
            self._frames = deque([greeting, *(self._frames or ())])
            self._bytes += len(greeting)
        self._start_writing()

    def write(self, frame: str) -> int:
        """Write a frame behind all others, soon. Never waits; after a close: drop it. Return how many frames wait."""
        if self.is_closing:
            return 0
        frames = self._frames
        if frames is None:
            frames = self._frames = deque()
        frames.append(frame)
        self._bytes += len(frame)
        waiting = len(frames)
        if self.is_open and not self._is_writing:
            self._is_writing = True
            self._flusher.add(self._drain)
        elif (waiting > _MAX_FRAMES or (self._bytes > _MAX_BYTES and waiting > 1)) and self._owner is not None:
            self._owner.outbox_is_full()
        return waiting

    async def send(self, frame: str) -> None:
        """Write a frame behind all others, waiting while many are before it. See write()."""
        if (writing := self.begin(frame)) is not None:
            await writing

    def begin(self, frame: str) -> Coroutine[Any, Any, None] | None:
        """Write a frame as send() does; return what its sender is to await, if anything: often a call is enough."""
        if self._flusher.is_idle and self.is_open and not (self._is_writing or self._frames or self.is_closing):
            # The caller is a task already: no need for another.
            self._flusher.take_turn()
            return self._write_at_once(frame)
        return self._until_few_wait() if self.write(frame) > _FULL_ENOUGH else None

    async def _write_at_once(self, frame: str) -> None:
        # Its own frame alone, so that cancelling the writer loses nobody else's.
        self._is_writing = True
        try:
            await self._send({"type": "websocket.send", "text": frame})
        except Exception as error:
            await self._close_after(error)
        finally:
            self._is_writing = False
            if self._frames or self._close_message:
                self._start_writing()

    async def _until_few_wait(self) -> None:
        while self.is_open and len(self._frames or ()) > _FULL_ENOUGH and not self.is_closing:
            await self._until_drained()

    def close(self, code: int, reason: str, *, drop: bool = False) -> None:
        """Send a close behind what waits, or in its place (``drop``); before the accept: refuse with HTTP 403."""
        if self.is_closing:
            return
        self.is_closing = True
        self._close_message = {"type": "websocket.close", "code": code, "reason": reason}
        if drop or not self.is_open:
            self._forget_frames()
        self._start_writing()

    def abandon(self) -> None:
        """Forget everything: the peer is gone."""
        self.is_closing = True
        self.is_open = False
        self._owner = None
        self._close_message = None
        self._forget_frames()
        self._notify_closed()

    async def closed(self) -> None:
        """Wait until the close has gone out; give up on a reader that takes nothing for 5 s."""
        if self.is_closed:
            return
        self._closed = self._closed or asyncio.get_running_loop().create_future()
        await asyncio.wait([self._closed], timeout=_CLOSE_LIMIT)
        if not self.is_closed:
            self.abandon()
            # uvicorn's send waits for as long as the peer keeps its socket open, and its writer with it.
            if self._writer is not None:
                self._writer.cancel()

    def _start_writing(self) -> None:
        if not self._is_writing and (self._frames or self._close_message):
            self._is_writing = True
            self._flusher.add(self._drain)

    async def _drain(self) -> None:
        send = self._send
        self._writer = asyncio.current_task()
        try:
            while frames := self._frames:
                frame = frames.popleft()
                self._bytes -= len(frame)
                await send({"type": "websocket.send", "text": frame})
                if self._drained is not None and len(frames) <= _FULL_ENOUGH:
                    self._notify_drained()
        except Exception as error:
            await self._close_after(error)
        else:
            if self._close_message:
                await self._close_with(self._close_message)
        finally:
            self._is_writing = False
            self._writer = None

    async def _close_after(self, error: Exception) -> None:
        # The peer may still be there: a server may refuse a frame, and keep the connection.
        owner, message = self._owner, self._close_message
        self.is_closing = True
        self._forget_frames()
        failure = {"type": "websocket.close", "code": 1011, "reason": "a message could not be written"}
        was_there = await self._close_with(message or failure)
        if was_there and message is None and owner is not None:
            owner.write_failed(error)
        else:
            logger.debug("A write failed, the peer is gone: %r", error)

    async def _close_with(self, message: dict[str, Any]) -> bool:
        """Write a close; return whether the server took it. Servers raise what they like once the peer is gone."""
        self._close_message = None
        try:
            async with asyncio.timeout(_CLOSE_LIMIT):
                await self._send_close(message)
        except Exception as error:
            logger.debug("A close could not be written, the peer is gone: %r", error)
            return False
        else:
            return True
        finally:
            self.abandon()

    async def _send_close(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except Exception as error:
            if not 1000 < message["code"] < 3000:
                raise
            # daphne takes 1000 and 3000 to 4999 only, and raises on the rest.
            logger.debug("The server refused close code %s: %r", message["code"], error)
            await self._send({**message, "code": message["code"] + 3000})

    async def _until_drained(self) -> None:
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._drained)

    def _forget_frames(self) -> None:
        self._frames = None
        self._bytes = 0
        self._notify_drained()

    def _notify_drained(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    def _notify_closed(self) -> None:
        self.is_closed = True
        if self._closed is not None and not self._closed.done():
            self._closed.set_result(None)
