"""How a client's WebSocket is opened, and when it is aborted."""

import asyncio
import itertools
import logging
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidURI
from websockets.http11 import Request

from django_etp.client import websocket as module
from django_etp.client.credentials import Credentials
from django_etp.client.websocket import Connector

WAIT = 10.0
NOTHING: dict[str, Any] = {"headers": (), "cookies": None, "token": None}


def connector(url: str, **options: Any) -> Connector:
    credentials = Credentials(*(options.pop(name, default) for name, default in NOTHING.items()))
    arguments = {"origin": None, "extensions": True, "proxy": None, **options}
    return Connector(url, credentials, **arguments)


async def request_of(**options: Any) -> Request:
    """Return the handshake that a connector sends."""
    requests: asyncio.Queue[Request | None] = asyncio.Queue()

    async def handle(connection: ServerConnection) -> None:
        requests.put_nowait(connection.request)

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        websocket = await connector(f"ws://127.0.0.1:{port}/ws/?a=1", **options).open()
        await websocket.close()
        async with asyncio.timeout(WAIT):
            request = await requests.get()
    assert request is not None
    return request


@pytest.mark.parametrize("headers", [{"X-A": "1", "X-B": "2"}, [("X-A", "1"), ("X-B", "2")]], ids=["dict", "pairs"])
async def test_the_handshake_has_the_headers_cookies_and_origin(headers: Any) -> None:
    request = await request_of(headers=headers, cookies={"a": "1", "b": "2"}, origin="https://example.com")
    assert request.path == "/ws/?a=1"
    sent = {name: request.headers.get(name) for name in ("X-A", "X-B", "Cookie", "Origin")}
    assert sent == {"X-A": "1", "X-B": "2", "Cookie": "a=1; b=2", "Origin": "https://example.com"}


async def test_the_handshake_has_the_token_in_a_header() -> None:
    request = await request_of(token="abc")
    assert request.headers.get("Authorization") == "Bearer abc"
    assert request.path == "/ws/?a=1"
    assert "Authorization" not in (await request_of(token=None)).headers


async def test_functions_are_called_at_each_attempt() -> None:
    numbers = itertools.count(1)

    async def cookies() -> dict[str, str]:
        return {"a": str(next(numbers))}

    credentials = Credentials(lambda: {"X-A": str(next(numbers))}, cookies, lambda: f"token-{next(numbers)}")
    requests: asyncio.Queue[Request | None] = asyncio.Queue()

    async def handle(connection: ServerConnection) -> None:
        requests.put_nowait(connection.request)

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connecting = Connector(f"ws://127.0.0.1:{port}/", credentials, None, extensions=True, proxy=None)
        for _ in range(2):
            await (await connecting.open()).close()
    seen = []
    while not requests.empty():
        request = requests.get_nowait()
        assert request is not None
        seen += [request.headers[name] for name in ("X-A", "Cookie", "Authorization")]
    assert seen == ["1", "a=2", "Bearer token-3", "4", "a=5", "Bearer token-6"]


async def test_the_library_logs_no_token(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await request_of(token="s3cret-t0ken", headers={"X-A": "1"})
    logged = [record.getMessage() for record in caplog.records if record.name == "websockets.client"]
    assert not any("s3cret" in each or "Bearer" in each for each in logged)
    caplog.clear()
    await request_of(headers={"X-A": "1"})  # without a token its log is as ever
    assert "> X-A: 1" in [record.getMessage() for record in caplog.records if record.name == "websockets.client"]


async def test_the_extensions_are_offered_as_a_subprotocol() -> None:
    assert (await request_of()).headers["Sec-WebSocket-Protocol"] == "etp.ext.v2, etp.ext.v1"
    assert "Sec-WebSocket-Protocol" not in (await request_of(extensions=False)).headers


@pytest.mark.parametrize("url", ["http://localhost/", "ws://localhost:port/", "ws://[::1/", "nothing"])
def test_an_invalid_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(InvalidURI):
        connector(url)


async def test_a_host_that_cannot_be_looked_up_is_an_invalid_url() -> None:
    with pytest.raises(InvalidURI):
        await connector(f"ws://{'a' * 64}.example/").open()


async def test_a_refusal_that_the_server_does_not_answer_aborts_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLOSE_WAIT", 0.05)

    async def send_too_much_and_freeze(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await connection.send("x" * 100)
        await closed.wait()
        connection.transport.abort()

    closed = asyncio.Event()
    async with serve(send_too_much_and_freeze, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        websocket = await connector(f"ws://127.0.0.1:{port}/", max_size=10).open()
        async with asyncio.timeout(WAIT):
            with pytest.raises(ConnectionClosed, match="1009"):
                await websocket.recv()
            await websocket.wait_closed()
        closed.set()
