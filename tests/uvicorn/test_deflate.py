"""Compressed messages, without context takeover."""

import random
import threading
import tracemalloc
import zlib

import pytest

from django_etp.uvicorn import deflate
from django_etp.uvicorn.deflate import Inflater, compress, negotiate
from django_etp.uvicorn.frames import FrameError
from tests.support.frames import packed

ACCEPTED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


def inflate(data: bytes, limit: int = 1_000_000) -> bytes:
    return Inflater().inflate(data, limit, is_last=True)


@pytest.mark.parametrize(
    ("offers", "response", "window_bits"),
    [
        (["permessage-deflate"], ACCEPTED, 15),
        (["permessage-deflate; client_max_window_bits"], ACCEPTED, 15),
        (["permessage-deflate ;client_max_window_bits=10; server_no_context_takeover"], ACCEPTED, 15),
        (["permessage-deflate; server_max_window_bits=9"], f"{ACCEPTED}; server_max_window_bits=9", 9),
        (['permessage-deflate; server_max_window_bits="12"'], f"{ACCEPTED}; server_max_window_bits=12", 12),
        (["permessage-deflate; server_max_window_bits=8, permessage-deflate"], ACCEPTED, 15),
        (["other; x=1", "permessage-deflate; unknown=1", "permessage-deflate"], ACCEPTED, 15),
    ],
)
def test_the_first_offer_that_can_be_met_is_accepted(offers, response, window_bits):
    assert negotiate(offers) == (response, window_bits)


@pytest.mark.parametrize(
    "parameters",
    [
        "server_max_window_bits",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits=09",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=",
        "server_no_context_takeover=1",
        "unknown",
        "",
    ],
)
def test_an_offer_that_cannot_be_met_is_declined(parameters):
    assert negotiate([f"permessage-deflate; {parameters}"]) is None
    assert negotiate(["x-webkit-deflate-frame"]) is None


@pytest.mark.parametrize("window_bits", range(9, 16))
def test_each_message_can_be_unpacked_by_itself(window_bits):
    for number in range(20):
        message = f"message {number} ".encode() * 500 + random.Random(number).randbytes(number * 10)
        data = compress(message, window_bits)
        assert data is not None
        assert len(data) < len(message)
        unpacked = zlib.decompressobj(wbits=-window_bits).decompress(data + b"\x00\x00\xff\xff")
        assert unpacked == inflate(data) == message


def test_a_message_does_not_show_what_another_one_held():
    secret = random.Random(1).randbytes(2000)
    first = compress(secret[:1000].hex().encode(), 15)
    compress(secret.hex().encode(), 15)
    assert compress(secret[:1000].hex().encode(), 15) == first


def test_a_message_that_would_not_become_smaller_is_left_alone():
    assert compress(random.Random(1).randbytes(5000), 15) is None
    assert inflate(compress(b"x" * 5000, 15) or b"") == b"x" * 5000


def test_a_message_on_which_the_compressor_failed_reaches_no_other():
    compress(b"x" * 2000, 15)
    with pytest.raises(TypeError):
        compress("no bytes", 15)  # type: ignore[arg-type]
    assert deflate._compressors.by_window.get(15) is None


def test_threads_do_not_share_compressors():
    compress(b"x" * 2000, 15)
    seen: list[object] = []
    thread = threading.Thread(target=lambda: seen.append(deflate._compressors.by_window.get(15)))
    thread.start()
    thread.join()
    assert seen == [None]


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_message_in_fragments(pieces):
    message = b"".join(b"line %d\n" % number for number in range(1000))
    data = packed(message)
    size = len(data) // pieces + 1
    inflater, unpacked = Inflater(), b""
    for start in range(0, len(data), size):
        unpacked += inflater.inflate(
            data[start : start + size], len(message) - len(unpacked), is_last=start + size >= len(data)
        )
    assert unpacked == message


def test_a_last_block_ends_a_message_and_what_follows_is_no_part_of_it():
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(b"Hello") + compressor.flush(zlib.Z_FINISH)
    inflater = Inflater()
    assert inflater.inflate(data + b"\x00", 100, is_last=False) == b"Hello"
    assert inflater.inflate(b"anything" * 1000, 95, is_last=False) == b""
    assert inflater.inflate(b"", 95, is_last=True) == b""
    assert not inflater._stream.unused_data.endswith(b"anything")


def test_data_that_is_not_compressed_in_this_way():
    with pytest.raises(FrameError) as error:
        inflate(b"\xff\xff\xff\xff")
    assert error.value.code == 1007


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536])
def test_a_message_of_exactly_the_limit(size):
    assert len(inflate(packed(bytes(size)), size)) == size
    with pytest.raises(FrameError) as error:
        inflate(packed(bytes(size + 1)), size)
    assert error.value.code == 1009


def test_a_bomb_takes_no_more_memory_than_the_limit():
    bomb = packed(bytes(100_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(FrameError) as error:
            inflate(bomb, 1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
    assert error.value.code == 1009
