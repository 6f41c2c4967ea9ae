"""Read the frames of one client: bytes in, messages and control frames out, without I/O.

The parser is our own, in Python, on the mask function of the library websockets, which is in C. picows, whose parser is
in C throughout, offers it through a class that its documentation does not have, and made the whole server no faster.

Rules kept here (RFC 6455, sections 5 to 8):

- Each frame has a mask, an opcode that is defined, and no reserved bit but that of a compressed message: 1002.
- A control frame is whole and has at most 125 bytes: 1002. It may come between the fragments of a message.
- A text is UTF-8, and each fragment is checked as it comes: 1007.
- A message has at most ``max_size`` bytes, unpacked: 1009. A frame that announces more is refused before it comes.
- Bytes that wait for the rest of their frame are moved once, in however small pieces they come. Nothing is allocated
  for what a frame only announces.
"""

import codecs
from collections.abc import Iterator
from typing import NamedTuple, final

from .deflate import Inflater
from .frames import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, FrameError
from .masking import unmask

__all__ = ["Control", "Reader"]

_OPCODES = frozenset({CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG})
_WHOLE_TEXT = FIN | TEXT
_RESERVED = 0x70
_CONTROL = 0x08  # the bit of opcodes of control frames
_MAX_CONTROL = 125
_COPIED = 4096  # a larger payload is unmasked in place


@final
class Control(NamedTuple):
    """A control frame: CLOSE, PING or PONG."""

    opcode: int
    payload: bytes


class Reader:
    """The parser of one connection.

    Args:
        max_size: the most bytes of a message.

    Attributes:
        takes_compressed: whether permessage-deflate was negotiated.
    """

    __slots__ = (
        "_data",
        "_inflater",
        "_message",
        "_needed",
        "_position",
        "_rest",
        "_utf8",
        "max_size",
        "takes_compressed",
    )

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self.takes_compressed = False
        self._data: bytes | bytearray = b""
        self._position = 0  # of what is not parsed yet in _data; 0 if that is empty
        self._rest: bytearray | None = None  # an incomplete frame
        self._needed = 0  # bytes of _rest from which parsing can go on
        self._message: bytearray | None = None  # the fragments so far
        self._utf8: codecs.IncrementalDecoder | None = None  # checks the fragments of a text
        self._inflater: Inflater | None = None  # of a message that is compressed

    @property
    def waiting(self) -> int:
        """The bytes that are not parsed yet."""
        return len(self._data) - self._position + len(self._rest or b"")

    def feed(self, data: bytes) -> None:
        """Add bytes of the client."""
        rest = self._rest
        if rest is not None:
            rest += data
            if len(rest) >= self._needed:
                self._data, self._position, self._rest = rest, 0, None
        elif self._position < len(self._data):
            self._data, self._position = self._data[self._position :] + data, 0
        else:
            self._data, self._position = data, 0

    def read_one(self, data: bytes) -> str | None:
        """Return the text that bytes of the client hold if they are just one short one; otherwise read() them.

        By far the most of what clients send that wait for each answer is such a text.
        """
        size = len(data) - 6
        if not 0 <= size <= 125 or data[0] != _WHOLE_TEXT or data[1] != size | 0x80 or size > self.max_size:
            return None
        if self._data or self._rest is not None or self._message is not None:
            return None
        try:
            return unmask(data[6:], data[2:6]).decode()
        except UnicodeDecodeError:
            return None

    def read(self, data: bytes = b"") -> Iterator[str | bytes | Control]:
        """Add bytes of the client, and iterate over the texts, binary messages and control frames that are whole.

        Raises:
            FrameError: the client broke a rule; nothing more can be read.
        """
        if self._data or self._rest is not None:
            if data:
                self.feed(data)
        else:
            self._data = data
        while True:
            received, start, longest = self._data, self._position, self.max_size
            # The most frequent frame takes a short way: a whole text of less than 126 bytes.
            if longest > 125:
                longest = 125
            whole = len(received)
            last = whole - 6 if self._message is None else -1
            while start <= last and received[start] == _WHOLE_TEXT:
                size = received[start + 1] ^ 0x80
                begin = start + 6
                end = begin + size
                if size > longest or end > whole:
                    break
                self._position = end
                try:
                    text = unmask(received[begin:end], received[start + 2 : begin]).decode()
                except UnicodeDecodeError:
                    raise _invalid_utf8() from None
                yield text
                if self._position != end or self._data is not received:
                    break  # what took the text has read on
                start = end
            if start == whole:
                self._data, self._position = b"", 0
                return
            if (message := self._read_frames()) is None:
                return
            yield message

    def _read_frames(self) -> str | bytes | Control | None:
        while (frame := self._next_frame()) is not None:
            first, payload = frame
            opcode = first & 0x0F
            if opcode & _CONTROL:
                return Control(opcode, payload)
            if first & FIN and opcode != CONTINUATION:
                if first & RSV1:
                    payload = Inflater().inflate(payload, self.max_size, is_last=True)
                return _text(payload) if opcode == TEXT else payload
            if (message := self._add_fragment(first, payload)) is not None:
                return message
        return None

    def _add_fragment(self, first: int, payload: bytes) -> str | bytes | None:
        is_last = bool(first & FIN)
        if self._message is None:
            self._message = bytearray()
            self._utf8 = codecs.getincrementaldecoder("utf-8")() if first & 0x0F == TEXT else None
            self._inflater = Inflater() if first & RSV1 else None
        message = self._message
        if self._inflater is not None:
            payload = self._inflater.inflate(payload, self.max_size - len(message), is_last=is_last)
        message += payload
        if self._utf8 is None:
            whole: str | bytes = bytes(message) if is_last else b""
        else:
            try:
                self._utf8.decode(payload, is_last)
            except UnicodeDecodeError:
                raise _invalid_utf8() from None
            whole = message.decode() if is_last else ""
        if not is_last:
            return None
        self._message = self._utf8 = self._inflater = None
        return whole

    def _next_frame(self) -> tuple[int, bytes] | None:
        """Return the first byte and the payload of the next frame, or keep what there is of it."""
        data, start = self._data, self._position
        available = len(data) - start
        if available < 2:
            return self._keep(2)
        first, second = data[start], data[start + 1]
        self._check_header(first, second)
        size = second & 0x7F
        header = 6
        if size > 125:
            header = 8 if size == 126 else 14
            if available < header:
                return self._keep(header)
            size = int.from_bytes(data[start + 2 : start + header - 4], "big")
        self._check_size(first, size)
        if available < header + size:
            return self._keep(header + size)
        begin = start + header
        self._position = end = begin + size
        masked = data[begin:end] if size < _COPIED else memoryview(data)[begin:end]
        return first, unmask(masked, data[begin - 4 : begin])

    def _keep(self, needed: int) -> tuple[int, bytes] | None:
        """Keep an incomplete frame until this many bytes of it are there."""
        data, start = self._data, self._position
        if start < len(data):
            self._rest, self._needed = bytearray(memoryview(data)[start:]), needed
        self._data, self._position = b"", 0
        return None

    def _check_header(self, first: int, second: int) -> None:
        opcode = first & 0x0F
        if opcode not in _OPCODES:
            raise FrameError(1002, "unknown opcode")
        if not second & 0x80:
            raise FrameError(1002, "a client's frame has a mask")
        # The bit of compression is set in the first frame of a message only.
        can_be_compressed = self.takes_compressed and opcode in (TEXT, BINARY)
        if first & _RESERVED and not (can_be_compressed and first & _RESERVED == RSV1):
            raise FrameError(1002, "reserved bits are set")
        if opcode & _CONTROL:
            if not first & FIN or second & 0x7F > _MAX_CONTROL:
                raise FrameError(1002, "a control frame is whole and has at most 125 bytes")
        elif (opcode == CONTINUATION) is (self._message is None):
            raise FrameError(1002, "a message begins within another, or continues none")

    def _check_size(self, first: int, size: int) -> None:
        if size >> 63:
            raise FrameError(1002, "invalid length")
        if first & _CONTROL:
            return
        left = self.max_size - len(self._message or b"")
        if first & RSV1 or self._inflater is not None:
            left += left // 8 + 64  # data that cannot be compressed becomes a little longer
        if size > left:
            raise FrameError(1009, "message too big")


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise _invalid_utf8() from None


def _invalid_utf8() -> FrameError:
    return FrameError(1007, "invalid UTF-8")
