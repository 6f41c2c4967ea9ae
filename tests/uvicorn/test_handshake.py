"""Requests of the opening handshake, and responses."""

import re

import pytest

from django_etp.uvicorn.handshake import Refusal, Request, accept_response, refusal, response

HEAD = b"GET /ws/?a=1 HTTP/1.1\r\n"
VALID = b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def parse(lines: bytes = VALID, head: bytes = HEAD) -> Request:
    return Request.parse(head + lines + b"\r\n")


def status_of(error: "pytest.ExceptionInfo[Refusal]") -> int:
    return int(error.value.response.split()[1])


def test_a_request_is_parsed() -> None:
    request = parse(b"host: example.com\r\nX-Two:  a : b \r\nx-empty:\r\nx-latin: gr\xfcn\r\n")
    assert request.target == b"/ws/?a=1"
    assert request.headers == [
        (b"host", b"example.com"),
        (b"x-two", b"a : b"),
        (b"x-empty", b""),
        (b"x-latin", b"gr\xfcn"),
    ]


def test_the_key_of_rfc_6455() -> None:
    assert parse().accept_key() == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_subprotocols_of_one_header_or_of_several() -> None:
    lines = b"sec-websocket-protocol: one, two\r\nsec-websocket-protocol:three\r\n"
    assert parse(lines).subprotocols() == ["one", "two", "three"]
    assert parse().subprotocols() == []


@pytest.mark.parametrize(
    ("head", "lines", "status"),
    [
        (b"POST / HTTP/1.1\r\n", VALID, 405),
        (b"GET / HTTP/1.0\r\n", VALID, 400),
        (b"GET /gr\xc3\xbcn HTTP/1.1\r\n", VALID, 400),
        (HEAD, b"no colon\r\n", 400),
        (HEAD, b"a name: x\r\n", 400),
        (HEAD, b": x\r\n", 400),
        (HEAD, b" folded\r\n", 400),
    ],
)
def test_requests_that_cannot_be_parsed(head: bytes, lines: bytes, status: int) -> None:
    with pytest.raises(Refusal) as error:
        parse(lines, head)
    assert status_of(error) == status


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        (rb"13", b"8", 426),
        (rb"sec-websocket-version.*\r\n", b"", 426),
        (rb"sec-websocket-key.*\r\n", b"", 400),
        (rb"dGhl.*==", b"", 400),
        (rb"dGhl.*==", b"c2hvcnQ=", 400),
        (rb"dGhl.*==", b"dGhlIHNhbXBsZSBub25jZ*==", 400),
        (rb"dGhl.*==", b"dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", 400),
    ],
)
def test_requests_that_are_no_handshake(old: bytes, new: bytes, status: int) -> None:
    request = parse(re.sub(old, new, VALID))
    with pytest.raises(Refusal) as error:
        request.accept_key()
    assert status_of(error) == status
    assert (b"\r\nSec-WebSocket-Version: 13\r\n" in error.value.response) is (status == 426)


def test_a_response_that_accepts() -> None:
    assert accept_response(b"KEY", "an-extension", "one", [(b"x-one", b"1")]) == (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: KEY\r\nSec-WebSocket-Extensions: an-extension\r\n"
        b"Sec-WebSocket-Protocol: one\r\nx-one: 1\r\n\r\n"
    )
    bare = accept_response(b"KEY", "", None, [])
    assert b"Extensions" not in bare
    assert b"Protocol:" not in bare


def test_headers_of_the_application_replace_our_own() -> None:
    data = response(599, [(b"content-type", b"text/html"), (b"Connection", b"keep-alive")], b"body")
    head, _, body = data.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 599 \r\n")
    assert body == b"body"
    assert head.lower().count(b"content-type:") == head.lower().count(b"connection:") == 1
    assert b"Content-Length: 4" in head


def test_a_refusal_has_a_text_and_ends_the_connection() -> None:
    data = refusal(403, "grün")
    assert data.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert b"\r\nContent-Length: 5\r\n" in data
    assert b"\r\nConnection: close\r\n" in data


@pytest.mark.parametrize("header", [(b"x", b"a\r\nset-cookie: b"), (b"x", b"a\nb"), (b"x y", b"a"), (b"", b"a")])
def test_a_header_cannot_bring_another_one(header: tuple[bytes, bytes]) -> None:
    for make in (lambda: response(200, [header], b""), lambda: accept_response(b"KEY", "", None, [header])):
        with pytest.raises(ValueError, match="valid name and value"):
            make()
    with pytest.raises(ValueError, match="valid name and value"):
        accept_response(b"KEY", "", "one\r\nset-cookie: b", [])
