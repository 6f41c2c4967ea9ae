"""The bytes of WebSocket frames, valid or not, as a client sends them."""

import os
import zlib

from websockets.utils import apply_mask

__all__ = ["frame", "frames_of", "packed"]


def frame(opcode: int, payload: bytes = b"", *, first: int | None = None, is_masked: bool = True) -> bytes:
    """Return one frame; ``first`` is its first byte, which otherwise says that the frame is whole."""
    size = len(payload)
    head = bytes([0x80 | opcode if first is None else first])
    mask_bit = 0x80 if is_masked else 0
    if size < 126:
        head += bytes([mask_bit | size])
    elif size < 65_536:
        head += bytes([mask_bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([mask_bit | 127]) + size.to_bytes(8, "big")
    if not is_masked:
        return head + payload
    mask = os.urandom(4)
    return head + mask + apply_mask(payload, mask)


def packed(payload: bytes) -> bytes:
    """Return a payload as permessage-deflate compresses it."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def frames_of(data: bytes) -> list[tuple[int, bytes]]:
    """Return first byte and payload of the frames of a server."""
    frames = []
    while data:
        size, start = data[1], 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        frames.append((data[0], data[start : start + size]))
        data = data[start + size :]
    return frames
