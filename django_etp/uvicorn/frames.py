"""Single frames of RFC 6455: the bits of their first byte, the frames of a server, and close frames."""

from django_etp.exceptions import InvalidCloseCode
from django_etp.protocol.closing import check_close

__all__ = [
    "BINARY",
    "CLOSE",
    "CONTINUATION",
    "FIN",
    "NO_CODE",
    "PING",
    "PONG",
    "RSV1",
    "SHORT_TEXT",
    "TEXT",
    "FrameError",
    "close_frame",
    "encode",
    "parse_close",
]

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
FIN, RSV1 = 0x80, 0x40  # bits of the first byte; RSV1 marks a compressed message
NO_CODE = 1005  # of a close frame without a code


class FrameError(Exception):
    """A client broke a rule of the protocol.

    Attributes:
        code, reason: of the close frame that answers it.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


# By far the most frequent header, by the size of the text.
SHORT_TEXT = tuple(bytes((FIN | TEXT, size)) for size in range(126))


def encode(first: int, payload: bytes) -> bytes:
    """Return a frame of a server, which has no mask; ``first`` is its first byte."""
    size = len(payload)
    if size < 126:
        return (SHORT_TEXT[size] if first == FIN | TEXT else bytes((first, size))) + payload
    if size < 65_536:
        return b"%c\x7e%b%b" % (first, size.to_bytes(2, "big"), payload)
    return b"%c\x7f%b%b" % (first, size.to_bytes(8, "big"), payload)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame.

    Raises:
        InvalidCloseCode: an endpoint must not send this code, or the reason is longer than 123 bytes.
    """
    check_close(code, reason)
    return encode(FIN | CLOSE, code.to_bytes(2, "big") + reason.encode())


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return the code and the reason of a client's close frame.

    Raises:
        FrameError: a client must not send this code, or the reason is not UTF-8.
    """
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    try:
        reason = payload[2:].decode()
        check_close(code, reason)
    except UnicodeDecodeError:
        raise FrameError(1007, "invalid UTF-8 in a close reason") from None
    except InvalidCloseCode:
        raise FrameError(1002, "invalid close code") from None
    return code, reason
