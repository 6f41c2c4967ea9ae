"""The application's answer to a handshake."""

from typing import Any

import pytest
from uvicorn.config import Config
from websockets.utils import generate_key

from django_etp.draining import draining
from django_etp.uvicorn.handshake import Refusal
from django_etp.uvicorn.opening import Opening
from tests.support.transports import MemoryTransport


def opening(*headers: str, **options: Any) -> Opening:
    lines = ["GET / HTTP/1.1", "sec-websocket-version: 13", f"sec-websocket-key: {generate_key()}", *headers]
    config = Config("app", log_config=None, **options)
    config.interface = "asgi3"
    return Opening("\r\n".join([*lines, "", ""]).encode(), MemoryTransport(), config, {})


def test_an_accept_has_the_server_s_headers_before_the_application_s() -> None:
    one = opening()
    headers = [(b"X-Two", b"2")]
    message = {"type": "websocket.accept", "subprotocol": "sub", "headers": headers}
    data = one.answer(message, [(b"server", b"uvicorn")]) or b""
    assert one.is_accepted
    assert data.endswith(b"\r\nSec-WebSocket-Protocol: sub\r\nserver: uvicorn\r\nx-two: 2\r\n\r\n")


def test_compression_is_negotiated_with_the_accept() -> None:
    offer = "sec-websocket-extensions: permessage-deflate; server_max_window_bits=10"
    one = opening(offer)
    assert one.window_bits == 10
    assert b"permessage-deflate; server_no_context_takeover" in (one.answer({"type": "websocket.accept"}, []) or b"")
    for other in (opening(), opening(offer, ws_per_message_deflate=False), opening(offer.replace("=10", "=8"))):
        assert other.window_bits == 0
        assert b"permessage-deflate" not in (other.answer({"type": "websocket.accept"}, []) or b"")


def test_a_close_is_a_403() -> None:
    one = opening()
    data = one.answer({"type": "websocket.close"}, []) or b""
    assert data.startswith(b"HTTP/1.1 403 Forbidden\r\n")
    assert not one.is_accepted


def test_a_response_is_complete_with_its_last_body() -> None:
    one = opening()
    assert one.answer({"type": "websocket.http.response.start", "status": 302}, []) is None
    assert one.answer({"type": "websocket.http.response.body", "body": b"a", "more_body": True}, []) is None
    with pytest.raises(RuntimeError, match=r"response\.body"):
        one.answer({"type": "websocket.accept"}, [])
    data = one.answer({"type": "websocket.http.response.body", "body": b"b"}, []) or b""
    assert data.startswith(b"HTTP/1.1 302 Found\r\n")
    assert data.endswith(b"\r\n\r\nab")
    assert not one.is_accepted


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send", "text": "early"},
        {"type": "websocket.http.response.body", "body": b""},
        {"type": "websocket.http.response.start", "status": 600},
    ],
)
def test_other_messages_are_errors_and_answer_nothing(message: dict[str, Any]) -> None:
    one = opening()
    with pytest.raises(RuntimeError):
        one.answer(message, [])
    assert one.answer({"type": "websocket.close"}, [])


def test_a_process_that_is_about_to_end_refuses_with_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draining, "has_begun", True)
    with pytest.raises(Refusal) as refused:
        opening()
    assert refused.value.response.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")


def test_a_request_that_is_no_handshake() -> None:
    with pytest.raises(Refusal):
        opening("sec-websocket-version: 13")
