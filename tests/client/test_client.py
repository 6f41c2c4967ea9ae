"""The Python client against real servers: events, answers, failures, reconnects."""

import asyncio
import itertools
import secrets
import subprocess
import sys

import pytest
from websockets.exceptions import InvalidStatus

from django_etp.client import EtpClient
from django_etp.exceptions import (
    AckTimeout,
    ConnectionClosed,
    EtpError,
    EventFailed,
    InvalidEventName,
    InvalidPayload,
)
from django_etp.protocol import Event
from django_etp.protocol.closing import Disconnect
from tests.support.servers import ROOT, Server, held_port, start_server

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
    async with client_of(server, extensions=False) as client:
        assert (await client.emit_with_ack("nosuch", "x")).data == ""
        assert client.id is None


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


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_server_that_is_killed_and_comes_back(kind: str) -> None:
    connects: asyncio.Queue[None] = asyncio.Queue()
    answers: asyncio.Queue[str] = asyncio.Queue()
    states: asyncio.Queue[object] = asyncio.Queue()
    with held_port() as port:
        with start_server(kind, port=port) as server:
            member = client_of(server, "/cluster/", reconnect_delays=lambda: itertools.repeat(0.05))
            room = member.room("declared/a")
            room.on_state(lambda state, recovered: states.put(state))

            @member.on_connect
            async def say() -> None:
                if room.is_wanted:  # it waits for the return to the room
                    await answers.put((await room.emit_with_ack("say", "back")).data)

            await member.__aenter__()
            await room.join()
            await states.get()
            client = client_of(server, reconnect_delays=lambda: itertools.repeat(0.05))
            client.on_connect(lambda: connects.put(None))
            await client.__aenter__()
            await connects.get()
            asked = asyncio.create_task(client.emit_with_ack("slow"))
            await client.ping()
            server.kill()
            with pytest.raises(ConnectionClosed):
                async with asyncio.timeout(WAIT):
                    await asked
        with start_server(kind, port=port):
            async with asyncio.timeout(WAIT):
                await connects.get()
                assert (await client.emit_with_ack("echo", "back")).data == "back"
                assert await states.get() == {"name": "a"}
                assert await answers.get() == "back"
            await client.close()
            await member.close()


# Declared rooms


async def test_joins_a_room_is_reached_inside_it_and_taken_out(server: Server) -> None:
    slug = secrets.token_hex(8)
    name = f"declared/{slug}"
    got: asyncio.Queue[Event] = asyncio.Queue()
    heard: asyncio.Queue[Event] = asyncio.Queue()
    left: asyncio.Queue[EventFailed] = asyncio.Queue()
    async with client_of(server, "/cluster/") as client, client_of(server, "/cluster/", extensions=False) as plain:
        room = client.room(name)
        client.on_unknown_event(got.put)
        room.on("news")(got.put)
        room.on_left(left.put)
        plain.on("news")(heard.put)
        assert await room.join() == {"name": slug}
        await plain.emit_with_ack("join", [name])  # by the application
        await plain.emit_with_ack("emit", [name, "news", "x"])
        async with asyncio.timeout(WAIT):
            assert await got.get() == await heard.get() == Event("news", 0, "x")
        assert (await room.emit_with_ack("say", "hello")).data == "hello"
        await plain.emit_with_ack("shut", f'"{slug}"')
        await plain.emit_with_ack("call", ["recheck", [], {"room": name}])
        async with asyncio.timeout(2):
            assert (await left.get()).code == "permission_denied"
        assert not room.is_wanted
        await plain.emit_with_ack("emit", [name, "news", "y"])
        assert (await heard.get()).data == "y"
        await client.ping()
        assert got.empty()
        with pytest.raises(EventFailed) as refusal:
            await room.join()
        assert refusal.value.code == "permission_denied"


async def test_a_room_is_left_and_joined_anew(server: Server) -> None:
    name = f"declared/{secrets.token_hex(8)}"
    got: asyncio.Queue[Event] = asyncio.Queue()
    async with client_of(server, "/cluster/") as client:
        client.room(name).on("news")(got.put)
        async with client.room(name):
            pass
        await client.emit_with_ack("emit", [name, "news", "1"])
        await client.room(name).join()
        await client.emit_with_ack("emit", [name, "news", "2"])
        async with asyncio.timeout(WAIT):
            assert (await got.get()).data == "2"


async def test_a_room_that_no_pattern_matches_is_not_found(server: Server) -> None:
    async with client_of(server, "/cluster/") as client:
        with pytest.raises(EventFailed, match="no room") as refusal:
            await client.room("nosuch/5").join()
        assert refusal.value.code == "not_found"


# Failures


@pytest.mark.parametrize(
    ("event", "data", "code", "message"),
    [
        ("nosuch", "x", "unknown_event", "No handler for the event 'nosuch'."),
        ("fail", "handler_error", "handler_error", "The handler failed."),
        ("fail", "permission_denied", "permission_denied", "This is not yours."),
        ("fail", "rate_limited", "rate_limited", "Not so fast."),
        ("fail", "no answer", "handler_error", "The handler failed."),
        ("fail in a thread", "permission_denied", "permission_denied", "This is not yours."),
    ],
)
async def test_a_failed_event_raises_its_code(server: Server, event: str, data: str, code: str, message: str) -> None:
    async with client_of(server, "/failing/") as client:
        with pytest.raises(EventFailed) as failed:
            await client.emit_with_ack(event, data)
        assert (failed.value.code, failed.value.message) == (code, message)


async def test_a_payload_that_the_handler_cannot_read_raises_its_code(server: Server) -> None:
    async with client_of(server, "/failing/") as client:
        with pytest.raises(EventFailed, match="invalid_payload"):
            await client.emit_with_ack("fail", "no JSON")


async def test_events_past_the_servers_queue_raise_their_code(server: Server) -> None:
    async with client_of(server, "/failing/", is_reconnecting=False) as client:
        client.on("never")(lambda event: asyncio.Event().wait())
        ends: list[Disconnect] = []
        client.on_disconnect(ends.append)
        # No more than one too many: a server that closes with input unread resets, and its last words may be lost.
        asked = [asyncio.create_task(client.emit_with_ack("wait")) for _ in range(1101)]
        async with asyncio.timeout(WAIT):
            fates = await asyncio.gather(*asked, return_exceptions=True)
            await client.wait_closed()
        assert {type(fate) for fate in fates[:-1]} == {ConnectionClosed}
        assert isinstance(fates[-1], EventFailed)
        assert fates[-1].code == "too_many_events"
        assert [end.code for end in ends] == [server.close_code(1008)]


async def test_the_server_is_told_why_a_handler_failed(server: Server) -> None:
    def fail(event: Event) -> object:
        if event.data == "rate_limited":
            raise EventFailed("rate_limited", "Not so fast.")
        return event.json()

    async with client_of(server, "/failing/") as client:
        told = (await client.emit_with_ack("ask")).data
        assert told == "unknown_event: No handler for the event 'question'."
        client.on("question")(fail)
        assert (await client.emit_with_ack("ask", "rate_limited")).data == "rate_limited: Not so fast."
        assert (await client.emit_with_ack("ask", "no JSON")).data.startswith("invalid_payload: ")


def test_needs_no_django() -> None:
    code = "import sys, django_etp.client; sys.exit('django' in sys.modules or 'channels' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_without_websockets_the_import_names_what_to_install() -> None:
    code = "import sys\nsys.modules['websockets'] = None\nimport django_etp.client"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "ImportError: django_etp.client needs the library websockets, 15 or newer" in done.stderr
