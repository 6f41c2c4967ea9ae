"""Frames of a client, read byte by byte and in any pieces."""

import random
import tracemalloc
import zlib
from typing import Any

import pytest

from django_etp.uvicorn.frames import BINARY, CLOSE, CONTINUATION, FIN, PING, PONG, RSV1, TEXT, FrameError
from django_etp.uvicorn.reader import Control, Reader
from tests.support.frames import frame, packed
from tests.support.fuzzing import HARD, check, random_input, read

MAX = 100_000


def read_always(data: bytes, **options: Any) -> list[Any]:
    """Return what bytes mean; it must be the same in pieces of any size."""
    whole = read(data, **options)
    for piece in (1, 2, 3, 7, 64):
        assert read(data, piece=piece, **options) == whole
    return whole


@pytest.mark.parametrize("size", [0, 1, 124, 125, 126, 127, 4095, 4096, 4097, 65_535, 65_536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_whole_messages_of_any_size(opcode, size):
    payload = random.Random(size).randbytes(size) if opcode == BINARY else b"x" * size
    expected = payload if opcode == BINARY else payload.decode()
    data = frame(opcode, payload) + frame(opcode, b"next")
    for piece in (0, 1, 1000):
        assert read(data, piece=piece) == [expected, b"next" if opcode == BINARY else "next"]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_fragments_are_one_message(opcode):
    parts = [HARD[:3], b"", HARD[3:7], HARD[7:]]
    data = frame(0, parts[0], first=opcode)
    data += b"".join(frame(0, part, first=CONTINUATION) for part in parts[1:])
    data += frame(CONTINUATION) + frame(opcode, b"next")
    expected = [HARD, b"next"] if opcode == BINARY else [HARD.decode(), "next"]
    assert read_always(data) == expected


def test_control_frames_come_between_fragments():
    data = b"".join(
        [
            frame(0, b"one", first=TEXT),
            frame(PING, b"ping"),
            frame(0, b" two", first=CONTINUATION),
            frame(PONG),
            frame(CONTINUATION, b" three"),
            frame(CLOSE, b"\x03\xe8"),
        ]
    )
    expected = [Control(PING, b"ping"), Control(PONG, b""), "one two three", Control(CLOSE, b"\x03\xe8")]
    assert read_always(data) == expected


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
@pytest.mark.parametrize("bits", range(0x10, 0x80, 0x10))
def test_reserved_bits(opcode, bits):
    data = frame(TEXT, b"before") + frame(opcode, b"", first=FIN | opcode | bits)
    assert read_always(data) == ["before", 1002]
    if not (bits == RSV1 and opcode in (TEXT, BINARY)):
        assert read_always(data, takes_compressed=True) == ["before", 1002]


@pytest.mark.parametrize("bits", [0, FIN])
def test_a_fragment_that_says_it_is_compressed(bits):
    data = frame(0, packed(b"x"), first=RSV1 | TEXT) + frame(0, b"", first=bits | RSV1 | CONTINUATION)
    assert read_always(data, takes_compressed=True) == [1002]


@pytest.mark.parametrize("opcode", [*range(3, 8), *range(11, 16)])
def test_opcodes_that_are_not_defined(opcode):
    assert read_always(frame(opcode, b"")) == [1002]
    assert read_always(frame(0, b"one", first=TEXT) + frame(opcode, b"")) == [1002]


@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, CLOSE])
@pytest.mark.parametrize("payload", [b"", b"hello"])
def test_frames_without_a_mask(opcode, payload):
    assert read_always(frame(opcode, payload, is_masked=False)) == [1002]


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
def test_control_frames_are_whole_and_short(opcode):
    assert read_always(frame(opcode, bytes(125))) == [Control(opcode, bytes(125))]
    assert read_always(frame(opcode, bytes(126))) == [1002]
    assert read_always(frame(opcode, b"", first=opcode)) == [1002]


def test_messages_do_not_begin_within_others_or_continue_none():
    for opcode in (TEXT, BINARY):
        assert read_always(frame(0, b"one", first=TEXT) + frame(opcode, b"two")) == [1002]
        assert read_always(frame(0, b"one", first=TEXT) + frame(0, b"two", first=opcode)) == [1002]
    assert read_always(frame(CONTINUATION, b"one")) == [1002]
    assert read_always(frame(TEXT, b"one") + frame(0, b"two", first=CONTINUATION)) == ["one", 1002]


@pytest.mark.parametrize("position", range(len(HARD)))
@pytest.mark.parametrize("wrong", [0x80, 0xC0, 0xF8, 0xFF])
def test_invalid_utf8_at_every_position(position, wrong):
    text = HARD[:position] + bytes([wrong]) + HARD[position + 1 :]
    try:
        text.decode()
    except UnicodeDecodeError:
        expected: list[Any] = ["ok", 1007]
    else:
        expected = ["ok", text.decode()]
    assert read_always(frame(TEXT, b"ok") + frame(TEXT, text)) == expected
    long = 1007 if expected[-1] == 1007 else "x" * 200 + expected[-1]
    assert read_always(frame(TEXT, b"x" * 200 + text)) == [long]
    for split in range(len(text) + 1):
        parts = frame(0, text[:split], first=TEXT) + frame(CONTINUATION, text[split:])
        assert read_always(frame(TEXT, b"ok") + parts) == expected


@pytest.mark.parametrize("text", [b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe0\x80\x80", HARD[:-2]])
def test_text_that_only_looks_like_utf8(text):
    assert read_always(frame(TEXT, text)) == [1007]
    for split in range(len(text) + 1):
        assert read_always(frame(0, text[:split], first=TEXT) + frame(CONTINUATION, text[split:])) == [1007]
    assert read_always(frame(TEXT, packed(text), first=FIN | RSV1 | TEXT), takes_compressed=True) == [1007]


@pytest.mark.parametrize("split", range(len(HARD) + 1))
def test_characters_may_be_split_between_fragments(split):
    data = frame(0, HARD[:split], first=TEXT) + frame(CONTINUATION, HARD[split:])
    assert read_always(data) == [HARD.decode()]


def test_invalid_utf8_is_found_before_the_message_is_whole():
    assert read_always(frame(0, b"good\xff", first=TEXT)) == [1007]
    assert read_always(frame(0, b"\xe2", first=TEXT) + frame(0, b"\x28", first=CONTINUATION)) == [1007]


@pytest.mark.parametrize("size", [0, 1, 100, 125, 126, 5000])
def test_the_limit_of_a_message(size):
    assert read_always(frame(BINARY, bytes(size)), max_size=size) == [bytes(size)]
    assert read_always(frame(BINARY, bytes(size + 1)), max_size=size) == [1009]
    assert read_always(frame(TEXT, bytes(size + 1)), max_size=size) == [1009]
    parts = frame(0, bytes(size), first=BINARY) + frame(CONTINUATION, b"x")
    assert read_always(parts, max_size=size) == [1009]


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION])
@pytest.mark.parametrize("size", [MAX + 1, 2**40, 2**63 - 1])
def test_a_frame_that_only_announces_too_much_is_refused_at_once(opcode, size):
    begun = frame(0, b"", first=TEXT) if opcode == CONTINUATION else b""
    head = bytes([FIN | opcode, 0xFF]) + size.to_bytes(8, "big") + b"mask"
    assert read_always(begun + head) == [1009]


def test_a_length_of_more_than_63_bits():
    for opcode in (TEXT, BINARY):
        head = bytes([FIN | opcode, 0xFF]) + (2**63 + 5).to_bytes(8, "big") + b"mask"
        assert read_always(head) == [1002]


def test_nothing_is_allocated_for_what_is_only_announced():
    reader = Reader(2**30)
    tracemalloc.start()
    try:
        reader.feed(bytes([FIN | BINARY, 0xFF]) + (2**29).to_bytes(8, "big") + b"mask" + bytes(1000))
        assert list(reader.read()) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()
    assert reader.waiting == 1014


def test_what_was_read_is_not_kept():
    reader = Reader(MAX)
    for data in (frame(BINARY, bytes(50_000)), frame(0, bytes(50_000), first=BINARY) + frame(CONTINUATION)):
        reader.feed(data)
        assert list(reader.read()) == [bytes(50_000)]
        assert reader.waiting == 0
        assert reader._data == b""


@pytest.mark.parametrize("text", ["", "a", "äöü€😀", "x" * 125])
def test_one_short_text_is_read_at_once(text: str) -> None:
    reader = Reader(125)
    assert reader.read_one(frame(TEXT, text.encode())) == text
    assert reader.waiting == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        frame(TEXT, b"a")[:-1],
        frame(TEXT, b"a") + b"\x81",
        frame(TEXT, b"x" * 126),
        frame(TEXT, b"x" * 101),
        frame(TEXT, b"\xff"),
        frame(TEXT, b"four", is_masked=False) + bytes(4),
        frame(BINARY, b"a"),
        frame(0, b"a", first=TEXT),
        frame(0, b"a", first=FIN | RSV1 | TEXT),
        frame(PING, b"a"),
    ],
    ids=[
        "nothing",
        "a part",
        "more",
        "126 bytes",
        "over the limit",
        "no UTF-8",
        "no mask",
        "binary",
        "a fragment",
        "compressed",
        "a ping",
    ],
)
def test_what_is_not_one_short_text_is_left_to_read(data: bytes) -> None:
    reader = Reader(100)
    assert reader.read_one(data) is None
    assert reader.waiting == 0


@pytest.mark.parametrize(
    "before",
    [frame(0, b"a", first=TEXT), frame(TEXT, b"a")[:-1], frame(BINARY, b"a" * 5000)[:5000]],
    ids=["a fragment", "a part", "a part of a large one"],
)
def test_no_text_is_read_at_once_while_others_are_not_whole(before: bytes) -> None:
    reader = Reader(MAX)
    assert list(reader.read(before)) == []
    assert reader.read_one(frame(TEXT, b"text")) is None


def test_no_text_is_read_at_once_before_those_that_wait() -> None:
    reader = Reader(MAX)
    reader.feed(frame(TEXT, b"first"))
    assert reader.read_one(frame(TEXT, b"second")) is None
    assert list(reader.read(frame(TEXT, b"second"))) == ["first", "second"]


def test_what_takes_a_text_may_read_on():
    reader = Reader(MAX)
    outer = reader.read(frame(TEXT, b"1") + frame(TEXT, b"2") + frame(TEXT, b"3"))
    assert next(outer) == "1"
    assert next(reader.read()) == "2"
    assert list(outer) == ["3"]
    last = frame(TEXT, b"6")
    outer = reader.read(frame(TEXT, b"4") + frame(TEXT, b"5") + last[:3])
    assert next(outer) == "4"
    assert list(reader.read()) == ["5"]
    assert list(outer) == []
    assert list(reader.read(last[3:])) == ["6"]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_compressed_messages(opcode):
    payload = HARD * 100
    data = packed(payload)
    whole = frame(0, data, first=FIN | RSV1 | opcode)
    parts = [frame(0, data[:5], first=RSV1 | opcode), frame(PING), frame(0, b"", first=CONTINUATION)]
    parts.append(frame(CONTINUATION, data[5:]))
    message = payload if opcode == BINARY else payload.decode()
    stream = whole + b"".join(parts) + frame(opcode, payload)
    assert read_always(stream, takes_compressed=True) == [message, Control(PING, b""), message, message]


@pytest.mark.parametrize("is_split", [False, True])
def test_a_compressed_message_is_limited_by_what_it_unpacks_to(is_split):
    def frames(payload: bytes) -> bytes:
        data = packed(payload)
        if not is_split:
            return frame(0, data, first=FIN | RSV1 | BINARY)
        half = len(data) // 2
        return frame(0, data[:half], first=RSV1 | BINARY) + frame(CONTINUATION, data[half:])

    assert read(frames(bytes(MAX)), takes_compressed=True) == [bytes(MAX)]
    assert read(frames(bytes(MAX + 1)), takes_compressed=True) == [1009]
    noise = random.Random(1).randbytes(MAX)  # becomes longer
    assert read(frames(noise), takes_compressed=True) == [noise]
    assert read(frames(bytes(50_000_000)), takes_compressed=True) == [1009]


@pytest.mark.parametrize("lowered_to", [0, 998, 999, 1000])
def test_a_limit_that_is_lowered_in_the_middle_of_a_compressed_message(lowered_to):
    reader = Reader(MAX)
    reader.takes_compressed = True
    compressor = zlib.compressobj(wbits=-15)
    half = compressor.compress(bytes(1000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    bomb = compressor.compress(bytes(10_000)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    reader.feed(frame(0, half, first=RSV1 | BINARY))
    assert list(reader.read()) == []
    reader.max_size = lowered_to
    reader.feed(frame(CONTINUATION, bomb))
    with pytest.raises(FrameError) as error:
        list(reader.read())
    assert error.value.code == 1009


def test_invalid_compressed_data():
    assert read_always(frame(0, b"\xff\xff\xff", first=FIN | RSV1 | TEXT), takes_compressed=True) == [1007]


@pytest.mark.parametrize("seed", range(4))
def test_any_bytes_are_read_as_another_library_reads_them(seed: int) -> None:
    source = random.Random(seed)
    for _ in range(250):
        check(random_input(source))
        check(source.randbytes(40))


@pytest.mark.parametrize("opcode", [PING, PONG, CLOSE])
@pytest.mark.parametrize("width", [2, 8])
def test_a_control_frame_whose_short_length_has_a_long_form(opcode: int, width: int) -> None:
    head = bytes([FIN | opcode, 0xFE if width == 2 else 0xFF])
    data = frame(TEXT, b"before") + head + (5).to_bytes(width, "big") + bytes(4) + b"hello"
    assert read_always(data) == ["before", 1002]
    check(bytes([0, 9]) + data + frame(TEXT, b"after"))
    check(bytes([0, 9]) + frame(TEXT, b"x\xff") + data)  # the error before it counts
