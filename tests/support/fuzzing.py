"""What must hold for all bytes of a client, and bytes that are nearly right.

`check` takes an input of a fuzzer: two bytes of options, and the client's bytes. `random_input` makes one from a seed.
"""

import random
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from django_etp.uvicorn.frames import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, FrameError
from django_etp.uvicorn.reader import Control, Reader
from tests.support.frames import frame, packed

__all__ = ["HARD", "check", "random_input", "read"]

LIMITS = (100, 1000, 70_000, 1_000_000)
HARD = "aé€😀z".encode()  # characters of one to four bytes
CONTROLS = [PING, PONG, PING, PONG, CLOSE]


def read(data: bytes, *, piece: int = 0, max_size: int = 100_000, takes_compressed: bool = False) -> list[Any]:
    """Return what a client's bytes mean, in pieces of a size; the code of an error is the last item."""
    reader = Reader(max_size)
    reader.takes_compressed = takes_compressed
    piece = piece or max(len(data), 1)
    items: list[Any] = []
    try:
        for start in range(0, len(data), piece):
            part = data[start : start + piece]
            if (text := reader.read_one(part)) is None:
                for item in reader.read(part):
                    items.append(item)
            else:
                items.append(text)
    except FrameError as error:
        items.append(error.code)
    return items


def check(data: bytes) -> None:
    """Check that bytes mean the same in any pieces, keep the limits, and mean what they mean to another library."""
    if len(data) < 2:
        return
    options, piece, data = data[0], data[1], data[2:]
    takes_compressed, max_size = bool(options & 1), LIMITS[options >> 1 & 3]
    items = read(data, max_size=max_size, takes_compressed=takes_compressed)
    assert items == read(data, piece=piece + 1, max_size=max_size, takes_compressed=takes_compressed)
    for item in items:
        if isinstance(item, int):
            assert item in {1002, 1007, 1009}
        elif isinstance(item, Control):
            assert len(item.payload) <= 125
        else:
            assert len(item.encode() if isinstance(item, str) else item) <= max_size
    before = _before_long_control(data)
    if len(before) < len(data):
        items_before = read(before, max_size=max_size, takes_compressed=takes_compressed)
        is_refused = bool(items_before) and isinstance(items_before[-1], int)
        assert items == (items_before if is_refused else [*items_before, 1002])
        items = items_before
    _compare(items, *_read_by_websockets(before, takes_compressed=takes_compressed))


def _before_long_control(data: bytes) -> bytes:
    """Return what comes before the first control frame whose length has one of the long forms.

    RFC 6455 refuses it, whatever the length (sections 5.2 and 5.5); the library websockets takes a short length.
    """
    start = 0
    while start + 2 <= len(data):
        first, second = data[start], data[start + 1]
        size, header = second & 0x7F, 6 if second & 0x80 else 2
        if size > 125:
            if first & 0x08:
                return data[:start]
            width = 2 if size == 126 else 8
            size = int.from_bytes(data[start + 2 : start + 2 + width], "big")
            header += width
        start += header + size
    return data


def _compare(ours: list[Any], theirs: list[Any], their_end: str) -> None:
    code = ours.pop() if ours and isinstance(ours[-1], int) else None
    ends = [number for number, item in enumerate(ours) if isinstance(item, Control) and item.opcode == CLOSE]
    if ends:  # they read no further
        assert ours[: ends[0]] == theirs[: ends[0]]
    elif code is None:
        assert their_end != "refused"
        assert ours == theirs
    else:
        # They have no limit here, check no text, and look at the header of a frame when all of it has come.
        assert code in {1007, 1009} or their_end
        assert ours == theirs[: len(ours)]


def _read_by_websockets(data: bytes, *, takes_compressed: bool) -> tuple[list[Any], str]:
    """Return what the library websockets makes of bytes, and what became of the last of them."""
    protocol = ServerProtocol(state=State.OPEN, max_size=None)
    if takes_compressed:
        protocol.extensions = [PerMessageDeflate(True, True, 15, 15)]
    protocol.receive_data(data)
    items: list[Any] = []
    message, is_text = b"", False
    for each in protocol.events_received():
        if each.opcode in (Opcode.CLOSE, Opcode.PING, Opcode.PONG):
            items.append(Control(each.opcode, bytes(each.data)))
            continue
        if each.opcode is not Opcode.CONT:
            message, is_text = b"", each.opcode is Opcode.TEXT
        message += bytes(each.data)
        if each.fin:
            items.append(_decoded(message) if is_text else message)
    if protocol.parser_exc is not None:
        return items, "refused"
    protocol.receive_eof()
    return items, "incomplete" if "stream ends" in str(protocol.parser_exc) else ""


def _decoded(message: bytes) -> str | None:
    try:
        return message.decode()
    except UnicodeDecodeError:
        return None  # no message of ours is equal to it


def random_input(seed: random.Random) -> bytes:
    """Return frames that are mostly right, and sometimes wrong in one place."""
    options = seed.randrange(8)
    data, is_inside = b"", False
    for _ in range(seed.randrange(1, 8)):
        is_last, is_control = seed.random() < 0.6, seed.random() < 0.15
        opcode = (
            seed.choice(CONTROLS) if is_control else CONTINUATION if is_inside else seed.choice([TEXT, TEXT, BINARY])
        )
        size = seed.choice([0, 1, 5, 20, 125, 126] if is_control else [0, 1, 20, 120, 126, 300, 1500])
        if seed.random() < 0.01 and not is_control:
            size = 70_000
        start = 0 if seed.random() < 0.93 else seed.randrange(len(HARD))  # in the midst of a character
        payload = (HARD * (size // len(HARD)) + b"z" * (size % len(HARD)))[start:]
        first = opcode | (FIN if is_last or is_control else 0)
        if options & 1 and not is_control and not is_inside and seed.random() < 0.6:
            first, payload = first | RSV1, packed(payload)
        if not is_control:
            is_inside = not is_last
        if seed.random() < 0.02:
            first ^= 1 << seed.randrange(8)
        data += frame(0, payload, first=first, is_masked=seed.random() > 0.01)
    if seed.random() < 0.2:
        place = seed.randrange(len(data) + 1)
        data = data[:place] + seed.randbytes(seed.randrange(3)) + data[place + seed.randrange(3) :]
    return bytes([options, seed.randrange(256)]) + data
