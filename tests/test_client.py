"""The Python client against real servers: events, answers, failures, reconnects."""

import asyncio
import subprocess
import sys

import pytest
from websockets.exceptions import InvalidStatus

from django_etp.client import EtpClient
from django_etp.closing import Disconnect
from django_etp.exceptions import (
    AckTimeout,
    ConnectionClosed,
    EtpError,
    EventFailed,
    InvalidEventName,
    InvalidFrame,
    InvalidPayload,
)
from django_etp.protocol import Event
from tests.servers import ROOT, Server, start_server

WAIT = 20.0


def client_of(server: Server, path: str = "/ws/", **options: object) -> EtpClient:
    return EtpClient(server.ws_url(path), proxy=None, **options)


async def test_asks_and_is_answered(server: Server) -> None:
    async with client_of(server) as client:
        assert await client.emit_with_ack("hello", "x") == Event("__ack_hello", 1, "hello handled")
        assert (await client.emit_with_ack("echo", {"a": [1, None]})).json() == {"a": [1, None]}
        assert (await client.emit_with_ack("nil")).data == ""


async def test_answers_the_servers_question(server: Server) -> None:
    async with client_of(server) as client:

        @client.on("question")
        async def question(event: Event) -> str:
            return f"{event.data}!"

        assert (await client.emit_with_ack("ask", "why")).data == "got:why!"


async def test_plain_handlers_and_the_fallback_answer_too(server: Server) -> None:
    async with client_of(server) as client:
        client.on_unknown_event(lambda event: {"unknown": event.name})
        assert (await client.emit_with_ack("ask", "why")).data == 'got:{"unknown":"question"}'


async def test_hears_room_events(server: Server) -> None:
    heard: asyncio.Queue[Event] = asyncio.Queue()
    async with client_of(server) as one, client_of(server) as other:
        other.on("news")(heard.put)
        await one.emit("broadcast", "today")
        async with asyncio.timeout(WAIT):
            assert (await heard.get()).data == "today"


async def test_measures_a_ping(server: Server) -> None:
    async with client_of(server) as client:
        assert 0 < await client.ping() < WAIT


async def test_knows_its_id_at_a_server_that_greets(server: Server) -> None:
    async with client_of(server) as client:
        await client.ping()
        assert client.id is not None
        assert len(client.id) == 49


async def test_without_the_extensions_the_wire_is_the_references(server: Server) -> None:
    async with client_of(server, offers_extensions=False) as client:
        assert (await client.emit_with_ack("nosuch", "x")).data == ""
        assert client.id is None


async def test_an_unknown_event_fails_with_its_code(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(EventFailed) as failed:
            await client.emit_with_ack("nosuch", "x")
        assert failed.value.code == "unknown_event"


async def test_a_failing_handler_tells_the_server(server: Server) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with client_of(server) as client:
        client.on_error(errors.put)

        @client.on("question")
        def question(event: Event) -> None:
            raise LookupError("no answer here")

        with pytest.raises(EventFailed) as failed:
            await client.emit_with_ack("ask", "why")
        assert failed.value.code == "handler_error"
        assert isinstance(await errors.get(), LookupError)


async def test_an_answer_that_does_not_come_is_a_timeout(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(AckTimeout):
            await client.emit_with_ack("slow", timeout=0.05)


@pytest.mark.parametrize("name", ["__ping", "a||b", "a|", "__ack_x"])
async def test_refuses_names_that_are_not_for_events(server: Server, name: str) -> None:
    async with client_of(server) as client:
        with pytest.raises(InvalidEventName):
            await client.emit(name)
        with pytest.raises(InvalidEventName):
            client.on(name)


async def test_refuses_what_is_not_json(server: Server) -> None:
    async with client_of(server) as client:
        with pytest.raises(InvalidPayload):
            await client.emit("echo", object())


async def test_refuses_a_second_handler(server: Server) -> None:
    client = client_of(server)
    client.on("a")(print)
    with pytest.raises(EtpError, match="already"):
        client.on("a")(print)


async def test_a_refused_handshake_is_raised(server: Server) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        async with client_of(server, origin="https://elsewhere.example"):
            pytest.fail("the server let it in")


async def test_a_normal_close_of_the_server_is_the_end(server: Server) -> None:
    ends: list[Disconnect] = []
    async with client_of(server) as client:
        client.on_disconnect(ends.append)
        with pytest.raises(ConnectionClosed):
            await client.emit_with_ack("bye")
        async with asyncio.timeout(WAIT):
            await client.wait_closed()
        with pytest.raises(ConnectionClosed):
            await client.emit("echo")
    assert [end.code for end in ends] == [1000]


async def test_closing_waits_for_the_end_and_may_be_done_twice(server: Server) -> None:
    client = client_of(server)
    async with client:
        await client.close()
        await client.close()
    assert not client.is_connected


async def test_connects_again_when_the_server_comes_back() -> None:
    connects: asyncio.Queue[None] = asyncio.Queue()
    delays = [0.05] * 1000
    with start_server("uvicorn") as server:
        port = server.port
        client = client_of(server, reconnect_delays=lambda: iter(delays))

        @client.on_connect
        async def connected() -> None:
            await connects.put(None)

        await client.__aenter__()
        await connects.get()
        asked = asyncio.create_task(client.emit_with_ack("slow"))
        await client.ping()
        server.kill()
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(WAIT):
                await asked
    with start_server("uvicorn", port=port) as server:
        async with asyncio.timeout(WAIT):
            await connects.get()
            assert (await client.emit_with_ack("echo", "back")).data == "back"
        await client.close()


async def test_a_malformed_frame_of_the_server_is_reported() -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    with start_server("uvicorn", "tests.bare:application") as server:
        async with client_of(server, offers_extensions=False) as client:
            client.on_error(errors.put)
            assert client._websocket is not None
            await client._websocket.send("no frame")  # which the bare server sends back
            async with asyncio.timeout(WAIT):
                assert isinstance(await errors.get(), InvalidFrame)


def test_needs_no_django() -> None:
    code = "import sys, django_etp.client; sys.exit('django' in sys.modules or 'channels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_etp_listen_prints_what_comes(server: Server) -> None:
    process = subprocess.run(
        [sys.executable, "manage.py", "etp_listen", server.ws_url(), "--emit", "broadcast=today", "--count", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    assert "news today" in process.stdout
