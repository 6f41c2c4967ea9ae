"""The frame of a text, made once for all the clients that the text goes to in one turn of the event loop.

Rules kept here:

- A text is recognised as the same object.
- A small one is never compressed. A large one is compressed once for each size of window that clients have negotiated.
- A text is kept until the end of the turn at most.
"""

from .deflate import MIN_SIZE, compress
from .frames import FIN, RSV1, SHORT_TEXT, TEXT, encode

__all__ = ["Texts"]


class Texts:
    """The last texts that were sent, and their frames.

    Attributes:
        small: the last text whose frame is the same for all clients.
        small_frame: its frame.
    """

    __slots__ = ("_frames", "_large", "_payload", "small", "small_frame")

    def __init__(self) -> None:
        self.small: str | None = None
        self.small_frame = b""
        self._large: str | None = None
        self._payload = b""
        self._frames: dict[int, bytes] = {}  # of the large text, by the bits of the window

    def forget(self) -> None:
        """Keep nothing."""
        self.small, self.small_frame = None, b""
        if self._large is not None:
            self._large = None
            self._payload = b""
            self._frames = {}

    def frame(self, text: str, window_bits: int) -> bytes:
        """Return the frame of a text; ``window_bits`` are of the client's compression, and 0 without."""
        if text is self.small:
            return self.small_frame
        if text is not self._large:
            payload = text.encode()
            size = len(payload)
            if size < MIN_SIZE:
                self.small = text
                self.small_frame = frame = SHORT_TEXT[size] + payload if size < 126 else encode(FIN | TEXT, payload)
                return frame
            self._large, self._payload, self._frames = text, payload, {}
        frames = self._frames
        if window_bits not in frames:
            packed = compress(self._payload, window_bits) if window_bits else None
            if packed:
                frames[window_bits] = encode(FIN | RSV1 | TEXT, packed)
            else:
                frames[window_bits] = frames.get(0) or encode(FIN | TEXT, self._payload)
        return frames[window_bits]
