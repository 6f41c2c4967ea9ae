"""Compressed messages: permessage-deflate (RFC 7692) without context takeover.

Rules kept here:

- Each message is compressed by itself. So no connection keeps a compressor or a window of what was sent before: these
  take 30 KB and more for each. All connections of a thread share one compressor, which is reset after each message.
- Small messages stay as they are: compressed by itself, a message that fits into one packet gains little.
- A message is unpacked up to the limit of its size, and not a byte further.
"""

import threading
import zlib
from collections.abc import Iterable

from .frames import FrameError

__all__ = ["MIN_SIZE", "Inflater", "compress", "negotiate"]

MIN_SIZE = 1024  # of messages that are compressed, in bytes

# The empty block at the end of each compressed message, which is not sent.
_TAIL = b"\x00\x00\xff\xff"
_TAKEOVER = frozenset({"server_no_context_takeover", "client_no_context_takeover"})
_WINDOWS = frozenset({"server_max_window_bits", "client_max_window_bits"})


class _Compressors(threading.local):
    """The compressors of a thread, by the bits of their windows."""

    def __init__(self) -> None:
        self.by_window: dict[int, zlib._Compress] = {}


_compressors = _Compressors()


def compress(payload: bytes, window_bits: int) -> bytes | None:
    """Return a compressed payload; ``None`` if that would not be smaller."""
    # If the compressor fails, its part of this message must not reach the next one. So it is taken out meanwhile.
    compressor = _compressors.by_window.pop(window_bits, None)
    compressor = compressor or zlib.compressobj(wbits=-window_bits)
    # A full flush forgets all that was compressed before, as RFC 7692 asks with server_no_context_takeover.
    data = compressor.compress(payload) + compressor.flush(zlib.Z_FULL_FLUSH)
    _compressors.by_window[window_bits] = compressor
    return data[: -len(_TAIL)] if len(data) - len(_TAIL) < len(payload) else None


class Inflater:
    """Unpacks one message, whose fragments come one after the other."""

    __slots__ = ("_stream",)

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=-15)

    def inflate(self, data: bytes, limit: int, *, is_last: bool) -> bytes:
        """Return what a fragment unpacks to.

        Raises:
            FrameError: it is more than ``limit`` bytes, or the data is not compressed in this way.
        """
        unpacked = self._unpack(data, limit)
        if is_last:
            unpacked += self._unpack(_TAIL, limit - len(unpacked))
        return unpacked

    def _unpack(self, data: bytes, limit: int) -> bytes:
        if self._stream.eof:  # a last block came, and nothing behind it belongs to the message
            return b""
        # The limit is below zero if it was lowered after the first fragments. zlib takes zero for no limit.
        try:
            unpacked = self._stream.decompress(data, limit + 1) if limit >= 0 else b""
        except zlib.error:
            raise FrameError(1007, "invalid compressed data") from None
        if len(unpacked) > limit:
            raise FrameError(1009, "message too big")
        return unpacked


def negotiate(offers: Iterable[str]) -> tuple[str, int] | None:
    """Accept the first offer of permessage-deflate that can be met.

    Args:
        offers: the values of the header Sec-WebSocket-Extensions.

    Returns:
        The value of that header in the response, and the bits of the server's window.
    """
    for offer in ",".join(offers).split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        window_bits = _window_bits(parameters) if name == "permessage-deflate" else None
        if window_bits is not None:
            response = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
            return (response if window_bits == 15 else f"{response}; server_max_window_bits={window_bits}"), window_bits
    return None


def _window_bits(parameters: list[str]) -> int | None:
    """Return the bits of the server's window; ``None`` if an offer with these parameters cannot be met."""
    window_bits = 15
    seen = set()
    for parameter in parameters:
        name, equals, value = (part.strip() for part in parameter.partition("="))
        bits = value.strip('"')
        is_size = bits in {"8", "9", "10", "11", "12", "13", "14", "15"}
        is_valid = not equals if name in _TAKEOVER else is_size or (name == "client_max_window_bits" and not equals)
        if name in seen or name not in _TAKEOVER | _WINDOWS or not is_valid:
            return None
        seen.add(name)
        if name == "server_max_window_bits":
            window_bits = int(bits)
    return window_bits if window_bits > 8 else None  # zlib has no raw window of 8 bits
