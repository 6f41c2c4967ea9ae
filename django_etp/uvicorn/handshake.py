"""The opening handshake: the client's request, its checks, and the bytes of responses."""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

__all__ = ["Headers", "Refusal", "Request", "accept_response", "refusal", "response"]

Headers = Sequence[tuple[bytes, bytes]]

_STATUSES = frozenset(HTTPStatus)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


class Refusal(Exception):
    """A request that is no valid handshake, or that comes at the wrong time.

    Attributes:
        response: the bytes that answer it.
    """

    def __init__(self, status: int, text: str, headers: Headers = ()) -> None:
        super().__init__(text)
        self.response = refusal(status, f"Failed to open a WebSocket connection: {text}.\n", headers)


@dataclass(frozen=True, slots=True)
class Request:
    """A request to upgrade a connection, in the bytes that uvicorn's HTTP protocol passes on.

    Attributes:
        target: the path with the query string.
        headers: their names are in lower case.
    """

    target: bytes
    headers: list[tuple[bytes, bytes]]

    @classmethod
    def parse(cls, data: bytes) -> "Request":
        """Parse a request.

        Raises:
            Refusal: it is no valid handshake.
        """
        head, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
        method, _, rest = head.partition(b" ")
        target, _, version = rest.rpartition(b" ")
        if method != b"GET":
            raise Refusal(405, "the method must be GET", [(b"Allow", b"GET")])
        if version != b"HTTP/1.1" or not target.isascii():
            raise Refusal(400, "the request line is invalid")
        headers = []
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not _NAME.fullmatch(name):
                raise Refusal(400, "a header is invalid")
            headers.append((name.lower(), value.strip(b" \t")))
        return cls(target, headers)

    def values(self, name: bytes) -> list[str]:
        """Return the values of a header."""
        return [value.decode("latin-1") for each, value in self.headers if each == name]

    def accept_key(self) -> bytes:
        """Return the key that accepts the handshake.

        Raises:
            Refusal: a header of the handshake is missing or invalid.
        """
        if self.values(b"sec-websocket-version") != ["13"]:
            raise Refusal(426, "the version must be 13", [(b"Sec-WebSocket-Version", b"13")])
        keys = [value for name, value in self.headers if name == b"sec-websocket-key"]
        try:
            is_valid = len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
        except binascii.Error:
            is_valid = False
        if not is_valid:
            raise Refusal(400, "the Sec-WebSocket-Key header is missing or invalid")
        return base64.b64encode(hashlib.sha1(keys[0] + _GUID).digest())

    def subprotocols(self) -> list[str]:
        """Return the subprotocols that the client offers."""
        offers = self.values(b"sec-websocket-protocol")
        return [offer.strip() for value in offers for offer in value.split(",")]


def accept_response(key: bytes, extension: str, subprotocol: str | None, headers: Headers) -> bytes:
    """Return the response that accepts a handshake; ``extension`` is empty if none was negotiated."""
    own = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", key)]
    if extension:
        own.append((b"Sec-WebSocket-Extensions", extension.encode()))
    if subprotocol:
        own.append((b"Sec-WebSocket-Protocol", subprotocol.encode()))
    return _serialize(101, [*own, *headers])


def refusal(status: int, text: str, headers: Headers = ()) -> bytes:
    """Return a response with a text."""
    return response(status, headers, text.encode())


def response(status: int, headers: Headers, body: bytes) -> bytes:
    """Return a response that ends the connection; headers of the application go before our own."""
    given = {name.lower() for name, _ in headers}
    own = [
        (b"Date", formatdate(usegmt=True).encode()),
        (b"Connection", b"close"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Content-Type", b"text/plain; charset=utf-8"),
    ]
    return _serialize(status, [*headers, *(header for header in own if header[0].lower() not in given)]) + body


def _serialize(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    phrase = HTTPStatus(status).phrase if status in _STATUSES else ""
    lines = [f"HTTP/1.1 {status} {phrase}".encode()]
    for name, value in headers:
        # A line break in a value would be a header of its own.
        if not _NAME.fullmatch(name) or _NOT_IN_VALUE.search(value):
            raise ValueError(f"A header must have a valid name and value, got {name!r}: {value!r:.100}.")
        lines.append(name + b": " + value)
    return b"\r\n".join([*lines, b"", b""])
