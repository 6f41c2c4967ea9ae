"""Remove the mask of a client's payload: with the C function of the library websockets, or without."""

import sys
from collections.abc import Callable

__all__ = ["mask_in_python", "unmask"]

Buffer = bytes | bytearray | memoryview


def mask_in_python(data: Buffer, mask: bytes | bytearray) -> bytes:
    """Return ``data`` XOR ``mask``, which has 4 bytes and is repeated; ten times as slow as the C function."""
    size = len(data)
    repeated = (bytes(mask) * (size // 4 + 1))[:size]
    number = int.from_bytes(data, sys.byteorder) ^ int.from_bytes(repeated, sys.byteorder)
    return number.to_bytes(size, sys.byteorder)


unmask: Callable[[Buffer, bytes | bytearray], bytes]
try:
    from websockets.speedups import apply_mask as unmask
except ImportError:  # built without its extension, or not installed
    unmask = mask_in_python
