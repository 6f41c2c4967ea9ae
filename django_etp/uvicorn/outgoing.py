"""The frames to one client: those of one turn in one write, and a wait if the client is behind.

Rules kept here:

- Frames go out in the order in which they came.
- What waits for the end of a turn is bounded: above that it is written at once, and counts as the transport's. A text
  that is offered without waiting is not taken then, so that who sends without end lets the loop turn.
- While the transport holds more than its high-water mark, senders wait.
- A client has 10 s to read what it was sent before the end.
"""

import asyncio
from typing import Any

from .deflate import MIN_SIZE, compress
from .frames import BINARY, FIN, RSV1, SHORT_TEXT, encode
from .writes import Writes

__all__ = ["Outgoing"]

_MAX_PENDING = 64 * 1024
_MAX_FRAMES = 256  # of those that are offered in one turn
_READ_TIMEOUT = 10.0


class Outgoing:
    """The writes of one connection.

    Args:
        transport: its transport.

    Attributes:
        drained: done when the client has caught up; ``None`` while it is not behind.
        frames: what the end of this turn writes.
        writes: the writes of this turn.
    """

    __slots__ = ("_is_open", "_most", "_size", "_transport", "_window_bits", "drained", "frames", "writes")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.writes = Writes.of(asyncio.get_running_loop())
        self.frames: list[bytes] = []
        self._size = 0
        self.drained: asyncio.Future[None] | None = None
        self._is_open = False
        self._most = -1  # bytes that may wait when a text is offered
        self._window_bits = 0  # of the compression that was negotiated

    def open(self, window_bits: int) -> None:
        """Take offers from now on; ``window_bits`` are of the compression that was negotiated, and 0 without."""
        self._is_open = True
        self._most = -1 if self.drained else _MAX_PENDING
        self._window_bits = window_bits

    def refuse_offers(self) -> None:
        """Take no more offers: a close is sent, or the client is gone."""
        self._is_open = False
        self._most = -1

    @property
    def unsent_bytes(self) -> int:
        """The bytes that wait for the client."""
        return self._size + self._transport.get_write_buffer_size()

    def send(self, message: dict[str, Any]) -> None:
        """Write the data of a ``websocket.send``."""
        first, payload = FIN | BINARY, message.get("bytes")
        if payload is None:
            if (text := message.get("text")) is not None:
                self.write(self.writes.texts.frame(text, self._window_bits))
            return
        if self._window_bits and len(payload) >= MIN_SIZE and (packed := compress(payload, self._window_bits)):
            first, payload = first | RSV1, packed
        self.write(encode(first, payload))

    def offer(self, text: str) -> bool:
        """Write a text at the end of this turn, unless too much waits, or the client is behind or gone.

        Return whether it is taken. ``Protocol.send()`` waits for a client that is behind.
        """
        frames, size = self.frames, self._size
        if size > self._most or len(frames) >= _MAX_FRAMES:
            return False
        writes = self.writes
        texts = writes.texts
        if text is texts.small:
            frame = texts.small_frame
        elif (length := len(text)) < 126 and text.isascii():  # the most frequent text takes a short way
            frame = SHORT_TEXT[length] + text.encode()
            texts.small, texts.small_frame = text, frame
        else:
            try:
                frame = texts.frame(text, self._window_bits)
            except UnicodeEncodeError:
                return False  # send() raises it to its caller
        if not frames and writes.reading is not self:
            writes.add(self)
        frames.append(frame)
        self._size = size + len(frame)
        return True

    def write(self, frame: bytes) -> None:
        """Write a frame at the end of this turn."""
        frames = self.frames
        if not frames and self.writes.reading is not self:
            self.writes.add(self)
        frames.append(frame)
        self._size += len(frame)
        if self._size > _MAX_PENDING:
            self.flush()

    def flush(self) -> None:
        """Write what has come in this turn."""
        frames = self.frames
        if frames:
            data = frames[0] if len(frames) == 1 else b"".join(frames)
            frames.clear()
            self._size = 0
            self._transport.write(data)

    def end(self) -> None:
        """Write what has come in this turn, and that nothing follows, if the transport can do so."""
        self.flush()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def close(self) -> None:
        """Write what has come in this turn, and close the transport.

        The transport alone would wait without end for a client that reads nothing, and the end of the server with it.
        """
        self.flush()
        transport = self._transport
        if transport.is_closing():
            return  # a transport with TLS that is closed again forgets its buffer, and cannot be aborted
        if transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_READ_TIMEOUT, transport.abort)
        transport.close()

    def drop(self) -> None:
        """Write nothing more: the client is gone."""
        self.frames.clear()
        self._size = 0
        self.resume()

    def pause(self) -> None:
        """Let senders wait."""
        self.drained = self.drained or asyncio.get_running_loop().create_future()
        self._most = -1

    def resume(self) -> None:
        """Let senders go on."""
        drained, self.drained = self.drained, None
        if self._is_open:
            self._most = _MAX_PENDING
        if drained is not None:
            drained.set_result(None)

    async def until_drained(self) -> None:
        """Wait while the client is behind."""
        while self.drained is not None:
            await asyncio.shield(self.drained)
