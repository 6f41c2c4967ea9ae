"""Single frames of a server, and close frames."""

import pytest

from django_etp.exceptions import InvalidCloseCode
from django_etp.uvicorn.frames import BINARY, FIN, RSV1, TEXT, FrameError, close_frame, encode, parse_close


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x00"),
        (125, b"\x7d"),
        (126, b"\x7e\x00\x7e"),
        (65_535, b"\x7e\xff\xff"),
        (65_536, b"\x7f\x00\x00\x00\x00\x00\x01\x00\x00"),
    ],
)
@pytest.mark.parametrize("first", [FIN | TEXT, FIN | BINARY, FIN | RSV1 | TEXT])
def test_the_length_takes_as_few_bytes_as_it_can(first, size, head):
    assert encode(first, b"x" * size) == bytes([first]) + head + b"x" * size


def test_a_close_frame_has_the_code_and_the_reason():
    assert close_frame(4001, "grün") == b"\x88\x07\x0f\xa1" + "grün".encode()
    assert parse_close(b"\x0f\xa1" + "grün".encode()) == (4001, "grün")
    assert parse_close(b"") == (1005, "")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000])
def test_codes_that_no_endpoint_may_send(code):
    with pytest.raises(InvalidCloseCode):
        close_frame(code)
    with pytest.raises(FrameError) as error:
        parse_close(code.to_bytes(2, "big"))
    assert error.value.code == 1002


def test_a_reason_that_is_too_long_for_a_control_frame():
    assert len(close_frame(1000, "x" * 123)) == 127
    with pytest.raises(InvalidCloseCode):
        close_frame(1000, "x" * 124)


@pytest.mark.parametrize(("payload", "code"), [(b"\x03", 1002), (b"\x03\xe8\xff", 1007), (b"\x03\xe8\xe2\x82", 1007)])
def test_close_frames_of_a_client_that_are_not_allowed(payload, code):
    with pytest.raises(FrameError) as error:
        parse_close(payload)
    assert error.value.code == code
