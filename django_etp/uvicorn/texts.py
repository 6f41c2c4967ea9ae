"""The frame of a text, made once for all the clients that the text goes to in one turn of the event loop.

Rules kept here:

- A text is recognised as the same object. It is compressed once for each size of window that clients have negotiated.
- A text is kept until the end of the turn at most.
"""

from .deflate import MIN_SIZE, compress
from .frames import FIN, RSV1, SHORT_TEXT, TEXT, encode

__all__ = ["Texts"]


class Texts:
    """The last text that was sent, and its frames."""

    __slots__ = ("_packed", "_payload", "_plain", "_text")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Keep nothing."""
        self._text: str | None = None
        self._plain = self._payload = b""
        self._packed: dict[int, bytes] | None = None  # by the bits of the window

    def frame(self, text: str, window_bits: int) -> bytes:
        """Return the frame of a text; ``window_bits`` are of the client's compression, and 0 without."""
        if text is not self._text:
            self._payload = payload = text.encode()
            size = len(payload)
            self._plain = SHORT_TEXT[size] + payload if size < 126 else encode(FIN | TEXT, payload)
            self._packed = None
            self._text = text
        if not window_bits or len(self._payload) < MIN_SIZE:
            return self._plain
        if self._packed is None:
            self._packed = {}
        frame = self._packed.get(window_bits)
        if frame is None:
            packed = compress(self._payload, window_bits)
            frame = self._packed[window_bits] = encode(FIN | RSV1 | TEXT, packed) if packed else self._plain
        return frame
