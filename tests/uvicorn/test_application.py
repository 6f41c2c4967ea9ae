"""Applications that return, raise and misbehave."""

import logging
from typing import Any

import pytest

from django_etp.uvicorn.application import ClientDisconnected, call


async def run(app: Any) -> bool:
    return await call(app, {"type": "websocket"}, receive, send)


async def receive() -> dict[str, Any]:
    return {}


async def send(message: dict[str, Any]) -> None:
    raise ClientDisconnected("gone")


async def test_an_application_gets_scope_receive_and_send(caplog: pytest.LogCaptureFixture) -> None:
    seen = []

    async def app(*arguments: Any) -> None:
        seen.append(arguments)

    assert await run(app)
    assert seen == [({"type": "websocket"}, receive, send)]
    assert caplog.records == []


async def test_a_result_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def app(*arguments: Any) -> str:
        return "a response"

    assert await run(app)
    assert caplog.messages == ["ASGI callable should return None, but returned 'a response'."]


async def test_an_exception_is_logged_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def app(*arguments: Any) -> None:
        raise SystemExit

    assert not await run(app)
    assert caplog.messages == ["Exception in ASGI application\n"]
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].levelno == logging.ERROR


async def test_a_client_that_is_gone_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.send"})

    assert not await run(app)
    assert caplog.records == []
