"""The frames of texts that go to many clients."""

import zlib

from django_etp.uvicorn.texts import Texts
from tests.support.frames import frames_of

LONG = "0123456789" * 1000


def unpacked(frame: bytes, window_bits: int) -> tuple[int, bytes]:
    ((first, payload),) = frames_of(frame)
    return first, zlib.decompressobj(wbits=-window_bits).decompress(payload + b"\x00\x00\xff\xff")


def test_a_text_is_framed_once() -> None:
    texts, text = Texts(), "äöü" * 100
    frame = texts.frame(text, 0)
    assert frames_of(frame) == [(0x81, text.encode())]
    assert texts.frame(text, 0) is frame
    assert frames_of(texts.frame("other", 0)) == [(0x81, b"other")]
    assert texts.frame(text, 0) is not frame


def test_a_text_is_compressed_once_for_each_size_of_window() -> None:
    texts = Texts()
    frames = [texts.frame(LONG, bits) for bits in (0, 15, 9, 0, 15, 9)]
    assert frames[:3] == frames[3:]
    assert all(frame is again for frame, again in zip(frames[:3], frames[3:], strict=True))
    assert frames_of(frames[0]) == [(0x81, LONG.encode())]
    assert unpacked(frames[1], 15) == unpacked(frames[2], 9) == (0xC1, LONG.encode())


def test_small_texts_and_those_that_do_not_shrink_stay_as_they_are() -> None:
    texts = Texts()
    for text in ("small" * 10, "".join(map(chr, range(0x4E00, 0x4E00 + 500)))[::7] * 1):
        assert frames_of(texts.frame(text, 15)) == [(0x81, text.encode())]


def test_nothing_is_kept() -> None:
    texts = Texts()
    frame = texts.frame(LONG, 0)
    texts.forget()
    assert texts.frame(LONG, 0) is not frame
