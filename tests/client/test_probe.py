"""One connection to a server that is examined."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from django_etp.client.probe import Probe, Refusal, open_probe
from django_etp.exceptions import AckTimeout, ConnectionClosed


@asynccontextmanager
async def served(handle: Any, **options: Any) -> AsyncIterator[str]:
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@asynccontextmanager
async def tcp_server(answer: bytes) -> AsyncIterator[str]:
    """Run a server that answers the first client with these bytes, and yield its URL; wait until the client is gone."""
    is_over = asyncio.Event()

    async def serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await reader.read()
        writer.close()
        await writer.wait_closed()
        is_over.set()

    async with await asyncio.start_server(serve_one, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        await is_over.wait()


@asynccontextmanager
async def probe_of(handle: Any, **options: Any) -> AsyncIterator[Probe]:
    async with served(handle, subprotocols=["etp.ext.v2"], **options) as url:
        probe = await open_probe(url, timeout=2.0)
        assert isinstance(probe, Probe), probe
        yield probe
        await probe.close()


async def greet(connection: ServerConnection) -> None:
    await connection.send('__hello||0||{"id": "hub.1"}')


async def answer_all(connection: ServerConnection) -> None:
    await greet(connection)
    async for message in connection:
        name, number, *_ = str(message).split("||")
        await connection.send(f"__ack_{name}||{number}||done")


async def test_it_keeps_what_the_handshake_brought() -> None:
    async with probe_of(answer_all) as probe:
        assert (probe.id, probe.subprotocol) == ("hub.1", "etp.ext.v2")
        assert "permessage-deflate" in probe.extensions
        assert probe.opened_in > 0
    async with probe_of(answer_all, compression=None) as probe:
        assert probe.extensions == ""


async def test_it_asks_and_pings_with_reserved_names() -> None:
    async with probe_of(answer_all) as probe:
        assert await probe.ping(2.0) < 2.0
        assert (await probe.ask("__doctor", "", 2.0)).data == "done"


async def test_a_ping_without_an_answer_times_out() -> None:
    async def ignore(connection: ServerConnection) -> None:
        await greet(connection)
        await connection.wait_closed()

    async with probe_of(ignore) as probe:
        with pytest.raises(AckTimeout):
            await probe.ping(0.05)
        assert await probe.ended(0.01) is None


async def test_it_keeps_the_events_that_arrive() -> None:
    async def send(connection: ServerConnection) -> None:
        await greet(connection)
        await connection.send("__doctor||0||one")
        await connection.wait_closed()

    async with probe_of(send) as probe:
        assert await probe.has_received("__doctor", "one", 2.0)
        assert not await probe.has_received("__doctor", "two", 0.05)


async def test_it_tells_how_the_connection_ended() -> None:
    async def end(connection: ServerConnection) -> None:
        await greet(connection)
        await connection.close(1012, "restart")

    async with probe_of(end) as probe:
        disconnect = await probe.ended(2.0)
        assert disconnect is not None
        assert (disconnect.code, disconnect.reason) == (1012, "restart")
        with pytest.raises(ConnectionClosed):
            await probe.ping(1.0)


async def test_it_does_not_wait_long_for_a_greeting_that_is_held_back() -> None:
    async def hold(connection: ServerConnection) -> None:
        async for _ in connection:
            await greet(connection)

    async with served(hold, subprotocols=["etp.ext.v2"]) as url:
        async with asyncio.timeout(5):
            probe = await open_probe(url, timeout=0.1)
        assert isinstance(probe, Probe)
        assert probe.id == ""
        await probe.close()


@pytest.mark.parametrize("status", [403, 503])
async def test_a_refusal_has_its_status_and_text(status: int) -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(status, "not you\n")

    async with served(answer_all, process_request=refuse) as url:
        refusal = await open_probe(url)
    assert isinstance(refusal, Refusal)
    assert refusal.status == status
    assert refusal.text.startswith(f"HTTP {status} ")
    assert refusal.text.endswith(": not you")


async def test_a_refusal_quotes_no_page() -> None:
    def refuse(connection: ServerConnection, request: Request) -> Response:
        return connection.respond(404, "<!doctype html>")

    async with served(answer_all, process_request=refuse) as url:
        assert await open_probe(url) == Refusal(404, "HTTP 404 Not Found")


async def test_a_server_that_does_not_answer_is_a_refusal() -> None:
    async with tcp_server(b"") as url:
        refusal = await open_probe(url, timeout=0.1)
    assert refusal == Refusal(None, "no answer within 0.1 s")


async def test_an_answer_that_is_no_http_is_a_refusal() -> None:
    async with tcp_server(b"220 mail\r\n\r\n") as url:
        refusal = await open_probe(url)
    assert isinstance(refusal, Refusal)
    assert refusal.status is None
    assert "InvalidMessage" in refusal.text
