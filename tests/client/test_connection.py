"""The Python client against a server that the test plays itself: frame by frame, and how connections come and go."""

import asyncio
import base64
import itertools
import json
import logging
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from enum import Enum
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request, Response

from django_etp.client import CONNECT_ERRORS, EtpClient, FailedAttempt, attempts, event_queue
from django_etp.exceptions import (
    AckTimeout,
    ConnectionClosed,
    EtpError,
    EventFailed,
    InvalidCloseCode,
    InvalidFrame,
    MessageTooLarge,
    ProtocolError,
    TooManyEvents,
)
from django_etp.protocol import Event
from django_etp.protocol.closing import Disconnect

WAIT = 10.0
GREETING = '__hello||0||{"id": "abc"}'
HANDLER_FAILED = '{"code":"handler_error","message":"The handler failed."}'


class Color(str, Enum):  # noqa: UP042  # whose str() is its name, unlike that of a StrEnum
    RED = "rot"


class Peer:
    """The server's side: `accept` gives its connections; `refusal`, where set, is what a handshake is refused with.

    Without a `greeting` it never greets.
    """

    def __init__(self) -> None:
        self.port = 0
        self.refusal: int | None = None
        self.greeting: str | None = GREETING
        self._connections: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def serve(self, connection: ServerConnection) -> None:
        if connection.subprotocol and self.greeting is not None:
            await connection.send(self.greeting)
        self._connections.put_nowait(connection)
        await connection.wait_closed()

    def answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        return connection.respond(self.refusal, "") if self.refusal else None  # type: ignore[arg-type]

    async def accept(self) -> ServerConnection:
        async with asyncio.timeout(WAIT):
            return await self._connections.get()

    def client(self, **options: Any) -> EtpClient:
        """Return a client that reconnects without delay."""
        options = {"reconnect_delays": lambda: itertools.repeat(0.0), "proxy": None, **options}
        return EtpClient(f"ws://127.0.0.1:{self.port}/ws/", **options)

    @asynccontextmanager
    async def connected(self, **options: Any) -> AsyncIterator[tuple[EtpClient, ServerConnection]]:
        """Give a client that is connected, and the server's end."""
        async with self.client(**options) as client:
            yield client, await self.accept()


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    async with serve(
        peer.serve,
        "127.0.0.1",
        0,
        max_size=None,
        close_timeout=1,
        process_request=peer.answer_http,
        select_subprotocol=lambda _, offered: offered[0] if offered else None,
    ) as server:
        peer.port = server.sockets[0].getsockname()[1]
        yield peer


async def receive(connection: ServerConnection) -> str:
    async with asyncio.timeout(WAIT):
        frame = await connection.recv()
    assert isinstance(frame, str), "the client writes text only"
    return frame


async def expect_nothing_more(client: EtpClient, connection: ServerConnection) -> None:
    """The client sends in order: once a marker sent now is the next frame, nothing else was sent."""
    await client.emit("marker")
    assert await receive(connection) == "marker||0"


async def get(queue: "asyncio.Queue[Any]") -> Any:
    async with asyncio.timeout(WAIT):
        return await queue.get()


# What goes out and what comes in


@pytest.mark.parametrize(
    ("data", "frame"),
    [
        (None, "x||0"),
        ("", "x||0"),
        ("a||b", "x||0||a||b"),
        (0, "x||0||0"),
        (False, "x||0||false"),
        ({"a": [1, "é"]}, 'x||0||{"a":[1,"é"]}'),
        (Color.RED, "x||0||rot"),
        ({"color": Color.RED}, 'x||0||{"color":"rot"}'),
    ],
)
async def test_payloads_go_as_text_as_json_or_not_at_all(peer: Peer, data: object, frame: str) -> None:
    async with peer.connected() as (client, connection):
        await client.emit("x", data)
        assert await receive(connection) == frame


async def test_questions_are_numbered_and_matched_by_number_alone(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        first = asyncio.create_task(client.emit_with_ack("a", 1))
        assert await receive(connection) == "a||1||1"
        second = asyncio.create_task(client.emit_with_ack("b"))
        assert await receive(connection) == "b||2"
        await connection.send("__ack_stray||77||nobody asked")
        await connection.send("__ack_whatever||2||to b")
        await connection.send('__ack_a||1||{"to": "a"}')
        assert (await second).data == "to b"
        assert (await first).json() == {"to": "a"}


@pytest.mark.parametrize("frame", ["", "hello", "hello||x", b"hello||0||\xff"])
async def test_a_malformed_frame_is_reported_and_the_connection_stays(peer: Peer, frame: str | bytes) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_error(errors.put)
        await connection.send(frame)
        assert isinstance(await get(errors), InvalidFrame)
        await expect_nothing_more(client, connection)


async def test_a_binary_message_is_read_like_a_text_one(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        client.on("x")(lambda event: event.data)
        await connection.send("x||-1||приве́т".encode())
        assert await receive(connection) == "__ack_x||-1||приве́т"


async def test_a_message_of_one_mebibyte_is_fine(peer: Peer) -> None:
    sizes: asyncio.Queue[int] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on("x")(lambda event: sizes.put(len(event.data)))
        await connection.send("x||0||" + "y" * (1024 * 1024 - 6))
        assert await get(sizes) == 1024 * 1024 - 6


async def test_a_larger_message_closes_with_1009_and_is_reported(peer: Peer) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_error(errors.put)
        await connection.send("x||0||" + "y" * (1024 * 1024 - 5))
        assert isinstance(await get(errors), MessageTooLarge)
        await connection.wait_closed()
        assert connection.close_code == 1009
        await peer.accept()


@pytest.mark.parametrize("is_frozen", [False, True], ids=["server", "frozen server"])
@pytest.mark.parametrize(
    ("message", "code", "kind"),
    [
        (b"\x82\x7f" + (1024 * 1024 + 1).to_bytes(8), 1009, MessageTooLarge),
        (b"\x83\x00", 1002, ProtocolError),
        (b"\x81\x01\xff", 1007, ProtocolError),
    ],
    ids=["too large", "no frame", "no text"],
)
async def test_what_is_refused_ends_the_connection_soon_with_the_code_of_the_refusal(
    peer: Peer, message: bytes, code: int, kind: type[Exception], is_frozen: bool
) -> None:
    told: asyncio.Queue[Any] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_error(told.put)
        client.on_disconnect(lambda end: told.put((end, client.is_connected)))
        asked = asyncio.create_task(client.emit_with_ack("x", timeout=60))
        assert await receive(connection) == "x||1"
        if is_frozen:
            connection.transport.pause_reading()
        connection.transport.write(message)
        async with asyncio.timeout(3):
            assert type(await get(told)) is kind
            end, is_connected = await get(told)
            assert (end.code, is_connected) == (code, False)
            with pytest.raises(ConnectionClosed):
                await asked
            await peer.accept()
        connection.transport.abort()


# The server's questions


@pytest.mark.parametrize(
    ("answer", "data"),
    [("text", "||text"), ({"a": 1}, '||{"a":1}'), (0, "||0"), ("", ""), (None, ""), (Color.RED, "||rot")],
)
async def test_what_a_handler_returns_is_the_answer(peer: Peer, answer: object, data: str) -> None:
    async with peer.connected() as (client, connection):
        client.on("x")(lambda event: answer)
        await connection.send("x||9223372036854775807")
        assert await receive(connection) == f"__ack_x||9223372036854775807{data}"


async def test_an_event_that_wants_no_answer_gets_none(peer: Peer) -> None:
    handled: asyncio.Queue[Event] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on("x")(handled.put)
        await connection.send("x||0")
        await get(handled)
        await expect_nothing_more(client, connection)


@pytest.mark.parametrize(
    ("offers", "frame"),
    [
        (False, "__ack_x||4"),
        (True, """__err_x||4||{"code":"unknown_event","message":"No handler for the event 'x'."}"""),
    ],
)
async def test_an_unknown_event_is_answered(peer: Peer, offers: bool, frame: str) -> None:
    async with peer.connected(extensions=offers) as (_, connection):
        await connection.send("x||4||data")
        assert await receive(connection) == frame


async def test_the_last_fallback_that_returned_something_answers(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        for answer in (1, 2, None):
            client.on_unknown_event(lambda event, answer=answer: answer)
        await connection.send("x||4")
        assert await receive(connection) == "__ack_x||4||2"


class Panic(BaseException):
    """What is no ``Exception``, as extensions in Rust and pytest's ``fail()`` raise it."""


def fail(event: Event) -> object:
    match event.data:
        case "handler_error":
            raise LookupError("a secret")
        case "panic":
            raise Panic("a secret")
        case "permission_denied" | "rate_limited":
            raise EventFailed(event.data, "Because")
        case "no answer":
            return object()
    return event.json()


@pytest.mark.parametrize(
    ("data", "code", "message"),
    [
        ("handler_error", "handler_error", "The handler failed."),
        ("panic", "handler_error", "The handler failed."),
        ("permission_denied", "permission_denied", "Because"),
        ("rate_limited", "rate_limited", "Because"),
        ("no JSON", "invalid_payload", "The data of event 'x' is not JSON"),
        ("no answer", "handler_error", "The handler failed."),
    ],
)
async def test_a_failed_handler_is_answered_with_its_code(peer: Peer, data: str, code: str, message: str) -> None:
    async with peer.connected() as (client, connection):
        client.on("x")(fail)
        await connection.send(f"x||4||{data}")
        head, _, body = (await receive(connection)).partition("||4||")
        assert head == "__err_x"
        failure = json.loads(body)
        assert failure["code"] == code
        assert failure["message"].startswith(message)


@pytest.mark.parametrize("code", [Color.RED, "rot"], ids=["Enum", "text"])
async def test_a_failure_goes_out_with_the_value_of_its_code(peer: Peer, code: str) -> None:
    async with peer.connected() as (client, connection):

        @client.on("x")
        def refuse(event: Event) -> None:
            raise EventFailed(code, code)

        await connection.send("x||4")
        assert await receive(connection) == '__err_x||4||{"code":"rot","message":"rot"}'


@pytest.mark.parametrize("data", [object(), "\ud800"], ids=["no JSON", "no Unicode"])
async def test_what_a_handler_cannot_send_is_no_fault_of_the_event(peer: Peer, data: object) -> None:
    async with peer.connected() as (client, connection):
        client.on("x")(lambda event: client.emit("y", data))
        await connection.send("x||4")
        assert await receive(connection) == f"__err_x||4||{HANDLER_FAILED}"


async def test_a_failure_that_the_server_told_is_not_told_back(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        client.on("x")(lambda event: client.emit_with_ack("y"))
        await connection.send("x||4")
        assert await receive(connection) == "y||1"
        await connection.send('__err_y||1||{"code": "rate_limited", "message": "a secret"}')
        assert await receive(connection) == f"__err_x||4||{HANDLER_FAILED}"


async def wait_for_a_cancelled_task(*_: object) -> None:
    task = asyncio.create_task(asyncio.Event().wait())
    task.cancel()
    await task


async def test_a_cancelled_task_that_a_handler_waits_for_is_a_failure(peer: Peer) -> None:
    errors: asyncio.Queue[BaseException] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_error(errors.put)
        client.on("x")(wait_for_a_cancelled_task)
        await connection.send("x||4")
        assert await receive(connection) == f"__err_x||4||{HANDLER_FAILED}"
        assert isinstance(await get(errors), asyncio.CancelledError)


@pytest.mark.parametrize("is_raised_by_hand", [True, False], ids=["raised by hand", "of another client"])
async def test_a_closed_connection_that_is_not_the_events_own_is_a_failure(peer: Peer, is_raised_by_hand: bool) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    other = peer.client()  # which never connects
    async with peer.connected() as (client, connection):
        client.on_error(errors.put)

        @client.on("x")
        async def pass_on(event: Event) -> None:
            if is_raised_by_hand:
                raise ConnectionClosed("elsewhere")
            await other.emit("y")

        await connection.send("x||4")
        assert await receive(connection) == f"__err_x||4||{HANDLER_FAILED}"
        assert isinstance(await get(errors), ConnectionClosed)


async def test_a_handler_that_finds_its_own_connection_gone_is_no_failure(peer: Peer) -> None:
    errors: list[Exception] = []
    finish = asyncio.Event()
    done = asyncio.Event()
    async with peer.connected(is_reconnecting=False) as (client, connection):
        client.on_error(errors.append)

        @client.on("x")
        async def late(event: Event) -> None:
            await finish.wait()
            asyncio.get_running_loop().call_soon(done.set)
            await client.emit("y")

        await connection.send("x||4")
        await connection.send("__ping||5")
        assert await receive(connection) == "__ack___ping||5"
        await connection.close(1012)
        await client.wait_closed()
        finish.set()
        await done.wait()
        assert errors == []


async def test_a_failed_handler_is_reported_and_a_plain_server_gets_no_answer(peer: Peer) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with peer.connected(extensions=False) as (client, connection):
        client.on("x")(fail)
        client.on_error(errors.put)
        await connection.send("x||4||handler_error")
        assert isinstance(await get(errors), LookupError)
        await expect_nothing_more(client, connection)


async def test_a_failure_to_a_plain_client_is_an_event(peer: Peer) -> None:
    async with peer.connected(extensions=False) as (client, connection):
        asked = asyncio.create_task(client.emit_with_ack("x"))
        assert await receive(connection) == "x||1"
        await connection.send('__err_x||1||{"code": "rate_limited"}')
        assert await receive(connection) == "__ack___err_x||1"
        await connection.send("__ack_x||1||yes")
        assert (await asked).data == "yes"


@pytest.mark.parametrize(
    "code",
    ["handler_error", "unknown_event", "invalid_payload", "permission_denied", "rate_limited", "too_many_events"],
)
async def test_a_failure_is_raised_with_its_code(peer: Peer, code: str) -> None:
    async with peer.connected() as (client, connection):
        asked = asyncio.create_task(client.emit_with_ack("x"))
        await receive(connection)
        await connection.send(f'__err_x||1||{{"code": "{code}", "message": "Because"}}')
        with pytest.raises(EventFailed) as failed:
            await asked
        assert (failed.value.code, failed.value.message) == (code, "Because")


async def test_the_facts_of_a_failure_are_on_the_error(peer: Peer) -> None:
    facts = {"errors": [{"path": ["to"], "message": "No", "code": "x"}], "details": {"left": 5}, "retry_after": 1.5}
    async with peer.connected() as (client, connection):
        asked = asyncio.create_task(client.emit_with_ack("x"))
        await receive(connection)
        await connection.send(f"__err_x||1||{json.dumps({'code': 'no', **facts})}")
        with pytest.raises(EventFailed) as failed:
            await asked
    failure = failed.value
    assert {"errors": failure.errors, "details": failure.details, "retry_after": failure.retry_after} == facts


async def test_a_handler_of_the_client_sends_details(peer: Peer) -> None:
    async with peer.connected() as (client, connection):

        @client.on("x")
        def refuse(event: Event) -> None:
            raise EventFailed("busy", details={"left": 5})

        await connection.send("x||4")
        assert await receive(connection) == '__err_x||4||{"code":"busy","message":"","details":{"left":5}}'


async def test_a_failure_that_the_server_said_itself_does_not_come_back_to_it(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_error(errors.put)
        client.on("x")(lambda event: client.emit_with_ack("y"))
        await connection.send("x||4")
        assert await receive(connection) == "y||1"
        said = {"code": "busy\nCRITICAL root: forged", "message": "z" * 100_000}
        await connection.send(f"__err_y||1||{json.dumps(said)}")
        assert await receive(connection) == '__err_x||4||{"code":"handler_error","message":"The handler failed."}'
        error = await get(errors)
    assert isinstance(error, EventFailed)
    assert (error.code, error.is_from_peer) == (said["code"], True)
    [line] = [message for message in caplog.messages if "'x'" in message]
    assert line.isprintable()
    assert len(line) < 1_200


@pytest.mark.parametrize("data", [object(), "\ud800"], ids=["object", "surrogate"])
async def test_a_payload_that_a_handler_cannot_send_is_its_own_fault(peer: Peer, data: object) -> None:
    async with peer.connected() as (client, connection):
        client.on("x")(lambda event: client.emit("y", data))
        await connection.send("x||4")
        assert await receive(connection) == '__err_x||4||{"code":"handler_error","message":"The handler failed."}'


# Many events


async def test_a_slow_handler_holds_up_nothing(peer: Peer) -> None:
    finish = asyncio.Event()
    async with peer.connected() as (client, connection):

        @client.on("slow")
        async def slow(event: Event) -> str:
            await finish.wait()
            return "slow"

        client.on("fast")(lambda event: "fast")
        await connection.send("slow||1")
        await connection.send("fast||2")
        assert await receive(connection) == "__ack_fast||2||fast"
        finish.set()
        assert await receive(connection) == "__ack_slow||1||slow"


async def test_answers_and_pings_pass_handlers_that_wait(peer: Peer) -> None:
    async with peer.connected(max_concurrent_events=1) as (client, connection):

        @client.on("x")
        async def ask_back(event: Event) -> str:
            return (await client.emit_with_ack("y", event.data)).data

        for number in (1, 2):
            await connection.send(f"x||{number}||{number}")
        assert await receive(connection) == "y||1||1"
        await connection.send("__ping||9")
        assert await receive(connection) == "__ack___ping||9"
        await connection.send("__ack_y||1||one")
        assert await receive(connection) == "__ack_x||1||one"
        assert await receive(connection) == "y||2||2"
        await connection.send("__ack_y||2||two")
        assert await receive(connection) == "__ack_x||2||two"


@pytest.mark.parametrize("turns", [0, 1, 5])
@pytest.mark.parametrize("ack_id", [0, 1], ids=["event", "question"])
async def test_a_burst_of_what_is_handled_quickly_is_handled_whole(peer: Peer, turns: int, ack_id: int) -> None:
    handled: asyncio.Queue[str] = asyncio.Queue()
    numbers = [str(number) for number in range(2000)]
    async with peer.connected() as (client, connection):

        @client.on("x")
        async def note(event: Event) -> str:
            for _ in range(turns):
                await asyncio.sleep(0)
            handled.put_nowait(event.data)
            return event.data

        for number in numbers:  # nothing here gives the client a turn
            await connection.send(f"x||{ack_id}||{number}")
        assert [await get(handled) for _ in numbers] == numbers
        if ack_id:
            assert [await receive(connection) for _ in numbers] == [f"__ack_x||1||{number}" for number in numbers]


async def test_a_connect_hook_that_takes_long_takes_no_place_of_a_handler(peer: Peer) -> None:
    client = peer.client(max_concurrent_events=1)
    client.on_connect(lambda: asyncio.Event().wait())
    client.on("x")(lambda event: event.data)
    async with client:
        connection = await peer.accept()
        for number in (1, 2):
            await connection.send(f"x||{number}||handled")
            assert await receive(connection) == f"__ack_x||{number}||handled"


async def test_a_burst_past_the_queue_slows_the_server_and_is_handled_whole(peer: Peer) -> None:
    handled: asyncio.Queue[str] = asyncio.Queue()
    gate = asyncio.Event()
    async with peer.connected(max_concurrent_events=2, max_queued_events=3) as (client, connection):
        client.on_error(lambda error: handled.put(repr(error)))
        started: asyncio.Queue[str] = asyncio.Queue()

        @client.on("x")
        async def note(event: Event) -> None:
            started.put_nowait(event.data)
            await gate.wait()
            handled.put_nowait(event.data)

        numbers = [str(number) for number in range(500)]
        for number in numbers:
            await connection.send(f"x||0||{number}")
        assert [await get(started) for _ in range(2)] == numbers[:2]
        assert client.is_connected
        gate.set()
        assert [await get(handled) for _ in numbers] == numbers
        await expect_nothing_more(client, connection)


async def test_the_server_that_is_slowed_does_not_get_far_ahead(peer: Peer) -> None:
    gate, sent = asyncio.Event(), 0
    async with peer.connected(max_concurrent_events=1, max_queued_events=1) as (client, connection):
        client.on("x")(lambda event: gate.wait())

        async def send_much() -> None:
            nonlocal sent
            for _ in range(250):
                noise = base64.b64encode(random.randbytes(75_000)).decode()  # which cannot be compressed much
                await connection.send(f"x||0||{noise}")
                sent += 1

        sending = asyncio.create_task(send_much())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(sending)
        assert sent < 250
        gate.set()
        async with asyncio.timeout(3 * WAIT):
            await sending


@pytest.mark.parametrize("events", [5, 500])
async def test_an_answer_behind_events_that_wait_is_read(
    peer: Peer, events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "_STRETCH", 1_000)
    async with peer.connected(max_concurrent_events=1, max_queued_events=1) as (client, connection):
        begin = asyncio.Event()

        @client.on("x")
        async def ask_back(event: Event) -> str:
            await begin.wait()  # until the client has stopped reading
            return (await client.emit_with_ack("y")).data

        for number in range(1, events):
            await connection.send(f"x||{number}")
        begin.set()
        for number in range(1, events):
            assert await receive(connection) == f"y||{number}"
            await connection.send(f"__ack_y||{number}||{number}")
            assert await receive(connection) == f"__ack_x||{number}||{number}"


@pytest.mark.parametrize("is_frozen", [False, True], ids=["server", "frozen server"])
async def test_where_too_many_wait_for_handlers_that_do_not_end_the_connection_ends_soon(
    peer: Peer, is_frozen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queue, "_STALL_LIMIT", 0.2)
    ends: asyncio.Queue[Disconnect] = asyncio.Queue()
    async with peer.connected(max_concurrent_events=1, max_queued_events=1) as (client, connection):
        client.on_disconnect(ends.put)
        client.on("x")(lambda event: asyncio.Event().wait())
        if is_frozen:
            connection.transport.pause_reading()
        for _ in range(2_000):
            await connection.send("x||0")
        async with asyncio.timeout(4):
            assert await get(ends) == Disconnect(1008, "too many events")
            await peer.accept()
        connection.transport.abort()


async def test_more_events_than_may_wait_close_with_1008(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_queue, "_STALL_LIMIT", 0.2)
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with peer.connected(max_concurrent_events=1, max_queued_events=1) as (client, connection):
        client.on_error(errors.put)
        client.on("x")(lambda event: asyncio.Event().wait())
        for number in (1, 2, 3):
            await connection.send(f"x||{number}")
        assert (await receive(connection)).startswith('__err_x||3||{"code":"too_many_events"')
        with pytest.raises(WebSocketClosed):
            await receive(connection)
        assert connection.close_code == 1008
        assert isinstance(await get(errors), TooManyEvents)


# The handshake


async def test_headers_cookies_and_origin_go_with_the_handshake(peer: Peer) -> None:
    options = {"headers": {"X-Token": "abc"}, "cookies": {"sessionid": "s", "b": "2"}, "origin": "https://example.com"}
    async with peer.connected(**options) as (_, connection):
        assert connection.request is not None
        headers = connection.request.headers
        assert (headers["X-Token"], headers["Cookie"], headers["Origin"]) == (
            "abc",
            "sessionid=s; b=2",
            "https://example.com",
        )


async def test_headers_may_be_pairs(peer: Peer) -> None:
    async with peer.connected(headers=[("X-Tag", "a"), ("X-Tag", "b")]) as (_, connection):
        assert connection.request is not None
        assert connection.request.headers.get_all("X-Tag") == ["a", "b"]


@pytest.mark.parametrize(("offers", "subprotocol", "id"), [(True, "etp.ext.v2", "abc"), (False, None, None)])
async def test_the_greeting_tells_the_id(peer: Peer, offers: bool, subprotocol: str | None, id: str | None) -> None:
    async with peer.client(extensions=offers) as client:
        assert client.id == id
        assert (await peer.accept()).subprotocol == subprotocol
    assert client.id is None


async def test_what_keeps_the_first_connection_from_being_made_is_raised(peer: Peer) -> None:
    peer.refusal = 503
    with pytest.raises(InvalidStatus, match="503"):
        async with peer.client():
            pytest.fail("the server let it in")


async def test_a_server_that_is_not_there_is_an_os_error(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        async with EtpClient(f"ws://127.0.0.1:{unused_tcp_port}/", proxy=None):
            pytest.fail("there is no server")


async def test_a_client_is_entered_once(peer: Peer) -> None:
    async with peer.connected() as (client, _):
        with pytest.raises(EtpError, match="make a new one"):
            await client.__aenter__()


@asynccontextmanager
async def entering_in_vain() -> AsyncIterator[tuple[EtpClient, "asyncio.Task[EtpClient]", asyncio.StreamReader]]:
    """Give a client whose handshake is never answered, the task that enters it, and what the server reads."""
    accepted: asyncio.Queue[asyncio.StreamReader] = asyncio.Queue()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(reader)
        await ended.wait()
        writer.close()

    ended = asyncio.Event()
    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        client = EtpClient(f"ws://127.0.0.1:{silent.sockets[0].getsockname()[1]}/", proxy=None)
        entering = asyncio.create_task(client.__aenter__())
        yield client, entering, await get(accepted)
        ended.set()


async def test_a_connect_that_is_cancelled_leaves_nothing_behind() -> None:
    async with entering_in_vain() as (client, entering, reader):
        entering.cancel()
        await asyncio.wait([entering])
        async with asyncio.timeout(WAIT):
            await reader.read()  # until the client has gone
        await client.close()


async def test_a_close_while_it_connects_is_told_to_who_enters() -> None:
    async with entering_in_vain() as (client, entering, reader):
        await client.close()
        with pytest.raises(ConnectionClosed, match="closed before it was connected"):
            await entering
        async with asyncio.timeout(WAIT):
            await reader.read()


async def test_a_wait_for_the_greeting_that_is_cancelled_leaves_nothing_behind(peer: Peer) -> None:
    peer.greeting = None
    client = peer.client()
    entering = asyncio.create_task(client.__aenter__())
    connection = await peer.accept()
    await client_is_back(client)  # from here on it waits for the greeting
    entering.cancel()
    async with asyncio.timeout(WAIT):
        await asyncio.wait([entering])
        await connection.wait_closed()
    assert entering.cancelled()
    assert not client.is_connected


# The end, and coming back


@pytest.mark.parametrize("code", [1001, 1008, 1011, 1012, 3000, 4008])
async def test_it_connects_again_after_an_end_that_is_not_normal(peer: Peer, code: int) -> None:
    events: asyncio.Queue[object] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_connect(lambda: events.put("connect"))
        client.on_disconnect(events.put)
        await connection.close(code, "because")
        await peer.accept()
        assert await get(events) == Disconnect(code, "because")
        assert await get(events) == "connect"


async def test_it_connects_again_after_the_connection_broke(peer: Peer) -> None:
    ends: asyncio.Queue[Disconnect] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_disconnect(ends.put)
        connection.transport.abort()
        await peer.accept()
        assert await get(ends) == Disconnect(1006, "")


@pytest.mark.parametrize("code", [1000, 4401, 4403])
async def test_it_stays_away_after_a_final_end(peer: Peer, code: int) -> None:
    ends: list[Disconnect] = []
    async with peer.connected() as (client, connection):
        client.on_disconnect(ends.append)
        await connection.close(code)
        await client.wait_closed()
        assert [end.code for end in ends] == [code]
        with pytest.raises(ConnectionClosed):
            await client.emit("x")


async def test_it_stays_away_where_it_was_told_not_to_reconnect(peer: Peer) -> None:
    async with peer.connected(is_reconnecting=False) as (client, connection):
        await connection.close(1011)
        await client.wait_closed()


async def test_a_refusal_when_it_connects_again_is_the_end(peer: Peer) -> None:
    errors: asyncio.Queue[Exception] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_error(errors.put)
        peer.refusal = 403
        await connection.close(1012)
        with pytest.raises(InvalidStatus, match="403"):
            await client.wait_closed()
        assert isinstance(await get(errors), InvalidStatus)


async def test_a_server_that_is_busy_is_tried_again(peer: Peer) -> None:
    delays: list[int] = []

    def count() -> Iterator[float]:
        for number in itertools.count(1):
            delays.append(number)
            if number == 3:
                peer.refusal = None
            yield 0.0

    async with peer.connected(reconnect_delays=count) as (_, connection):
        peer.refusal = 503
        await connection.close(1012)
        await peer.accept()
        assert delays == [1, 2, 3]


async def test_it_gives_up_where_the_delays_end(peer: Peer) -> None:
    async with peer.connected(reconnect_delays=lambda: iter([0.0])) as (client, connection):
        await connection.close(1012)
        await (await peer.accept()).close(1012)
        with pytest.raises(ConnectionClosed, match=r"1012 .*no delay left"):
            async with asyncio.timeout(WAIT):
                await client.wait_closed()
        assert not client.is_connected


@pytest.mark.parametrize(("reason", "words"), [("", "no reason"), ("restart", "restart")])
async def test_it_says_why_it_gives_up_where_the_server_accepts_and_closes(peer: Peer, reason: str, words: str) -> None:
    told: list[BaseException] = []
    async with peer.connected(reconnect_delays=lambda: iter(())) as (client, connection):
        client.on_error(told.append)
        await connection.close(1012, reason)
        with pytest.raises(ConnectionClosed, match=words):
            async with asyncio.timeout(WAIT):
                await client.wait_closed()
        assert [type(error) for error in told] == [ConnectionClosed]


async def test_a_server_that_refuses_for_a_while_is_tried_again(peer: Peer) -> None:
    failed: asyncio.Queue[FailedAttempt] = asyncio.Queue()
    async with peer.connected(reconnect_delays=lambda: itertools.repeat(0.01)) as (client, connection):

        @client.on_attempt_failed
        def note(attempt: FailedAttempt) -> None:
            failed.put_nowait(attempt)
            if attempt.attempt == 5:
                peer.refusal = None

        peer.refusal = 404
        await connection.close(1012)
        connection = await peer.accept()
        attempts = [failed.get_nowait() for _ in range(5)]
        assert [(attempt.attempt, attempt.delay) for attempt in attempts] == [(n, 0.01) for n in range(1, 6)]
        assert {type(attempt.error) for attempt in attempts} == {InvalidStatus}
        peer.refusal = 503
        await connection.close(1012)
        assert (await get(failed)).attempt == 1
        peer.refusal = None


async def test_the_hook_is_told_of_the_last_attempt_too(peer: Peer) -> None:
    failed: list[FailedAttempt] = []
    async with peer.connected(reconnect_delays=lambda: iter([0.0, 0.0])) as (client, connection):
        client.on_attempt_failed(failed.append)
        peer.refusal = 503
        await connection.close(1012)
        with pytest.raises(InvalidStatus, match="503"):
            await client.wait_closed()
        assert [(attempt.attempt, attempt.delay) for attempt in failed] == [(1, 0.0), (2, None)]


async def test_the_hook_of_failed_attempts_may_close_the_client(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        client.on_attempt_failed(lambda attempt: client.close())
        peer.refusal = 503
        await connection.close(1012)
        async with asyncio.timeout(WAIT):
            await client.wait_closed()


async def test_it_says_why_it_gives_up_where_no_attempt_of_the_delays_succeeds(peer: Peer) -> None:
    told: list[BaseException] = []
    async with peer.connected(reconnect_delays=lambda: iter([0.0, 0.0])) as (client, connection):
        client.on_error(told.append)
        peer.refusal = 503
        await connection.close(1012)
        with pytest.raises(InvalidStatus, match="503"):
            async with asyncio.timeout(WAIT):
                await client.wait_closed()
        assert [type(error) for error in told] == [InvalidStatus]


@pytest.mark.parametrize(
    "url",
    [
        "ws://127.0.0.1:99999/",
        "ws://127.0.0.1:port/",
        "ws://[::1/",
        "ws://a..b/",
        f"ws://{'a' * 64}/",
        "http://127.0.0.1/",
    ],
)
async def test_a_url_that_is_none_is_among_what_keeps_a_client_from_connecting(url: str) -> None:
    with pytest.raises(CONNECT_ERRORS, match="URI"):
        async with EtpClient(url):
            pass


class Delays:
    """Delays of no time before the client comes back; keeps the place of each one that was taken."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def __call__(self) -> Iterator[float]:
        for number in itertools.count(1):
            self.taken.append(number)
            yield 0.0


async def test_connections_that_die_young_come_back_with_growing_delays(peer: Peer) -> None:
    delays = Delays()
    async with peer.connected(reconnect_delays=delays) as (_, connection):
        for _ in range(3):
            await connection.close(1011)
            connection = await peer.accept()
        assert delays.taken == [1, 2, 3]


async def test_a_connection_that_lived_starts_the_delays_from_the_beginning(
    peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "_STABLE_AFTER", 0.0)
    delays = Delays()
    async with peer.connected(reconnect_delays=delays) as (_, connection):
        for _ in range(3):
            await connection.close(1011)
            connection = await peer.accept()
        assert delays.taken == [1, 1, 1]


async def test_questions_fail_at_once_when_the_connection_ends_and_are_not_asked_again(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        asked = asyncio.create_task(client.emit_with_ack("x", timeout=3600))
        assert await receive(connection) == "x||1"
        connection.transport.abort()
        with pytest.raises(ConnectionClosed):
            await asked
        second = await peer.accept()
        await client_is_back(client)
        await expect_nothing_more(client, second)


async def test_questions_fail_at_once_when_the_client_closes(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        asked = asyncio.create_task(client.emit_with_ack("x", timeout=3600))
        assert await receive(connection) == "x||1"
        connection.transport.pause_reading()  # so that the close is not answered
        closing = asyncio.create_task(client.close())
        with pytest.raises(ConnectionClosed):
            async with asyncio.timeout(1):
                await asked
        connection.transport.resume_reading()
        await closing


async def test_an_answer_never_goes_to_a_later_connection(peer: Peer) -> None:
    finish = asyncio.Event()
    done = asyncio.Event()
    async with peer.connected() as (client, first):

        @client.on("x")
        async def late(event: Event) -> str:
            await finish.wait()
            asyncio.get_running_loop().call_soon(done.set)
            return "late"

        await first.send("x||1")
        await first.send("__ping||2")
        assert await receive(first) == "__ack___ping||2"
        await first.close(1012)
        second = await peer.accept()
        await client_is_back(client)
        finish.set()
        await done.wait()
        await expect_nothing_more(client, second)


async def client_is_back(client: EtpClient) -> None:
    async with asyncio.timeout(WAIT):
        while not client.is_connected:  # noqa: ASYNC110  # there is nothing to await
            await asyncio.sleep(0.01)


async def test_while_there_is_no_connection_sending_fails(peer: Peer) -> None:
    client = peer.client(reconnect_delays=lambda: itertools.repeat(3600.0))
    for send in (client.emit, client.emit_with_ack):
        with pytest.raises(ConnectionClosed):
            await send("x")
    ended = asyncio.Event()
    async with client:
        client.on_disconnect(lambda disconnect: ended.set())
        await (await peer.accept()).close(1012)
        await ended.wait()
        assert not client.is_connected
        for send in (client.emit, client.emit_with_ack):
            with pytest.raises(ConnectionClosed):
                await send("x")
        with pytest.raises(ConnectionClosed):
            await client.ping()


async def test_answers_have_the_time_that_the_client_gives_them(peer: Peer) -> None:
    async with peer.connected(ack_timeout=0.05) as (client, connection):
        with pytest.raises(AckTimeout):
            await client.emit_with_ack("x")
        with pytest.raises(AckTimeout):
            await client.ping()
        assert [await receive(connection), await receive(connection)] == ["x||1", "__ping||2"]


async def test_where_the_server_does_not_read_a_question_takes_no_longer_than_its_answer_may(peer: Peer) -> None:
    async with peer.connected(is_reconnecting=False, compression=None) as (client, connection):
        connection.transport.pause_reading()
        with pytest.raises(AckTimeout):
            async with asyncio.timeout(WAIT):
                # More than the buffers of the system hold: the sending itself waits.
                await client.emit_with_ack("x", "y" * 32 * 1024 * 1024, timeout=0.1)
        with pytest.raises(AckTimeout):
            async with asyncio.timeout(WAIT):
                await client.ping(timeout=0.1)
        connection.transport.abort()


# Closing


async def test_close_takes_a_code_and_a_reason(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        await client.close(4000, "gone fishing")
        await connection.wait_closed()
        assert (connection.close_code, connection.close_reason) == (4000, "gone fishing")


async def test_close_refuses_what_no_close_frame_may_hold(peer: Peer) -> None:
    async with peer.connected() as (client, _):
        with pytest.raises(InvalidCloseCode):
            await client.close(1006)
        assert client.is_connected


async def test_close_ends_the_wait_for_the_next_connection(peer: Peer) -> None:
    ended = asyncio.Event()
    async with peer.connected(reconnect_delays=lambda: itertools.repeat(3600.0)) as (client, connection):
        client.on_disconnect(lambda disconnect: ended.set())
        await connection.close(1012)
        await ended.wait()
        async with asyncio.timeout(WAIT):
            await client.close()
            await client.wait_closed()


async def test_a_close_that_is_cancelled_leaves_nothing_behind(peer: Peer) -> None:
    async with peer.connected(close_timeout=3600) as (client, connection):
        connection.transport.pause_reading()  # so that it never closes
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.close(), 0.1)
        async with asyncio.timeout(WAIT):
            await client.wait_closed()
        connection.transport.abort()


async def test_a_handler_may_close_the_connection(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        client.on("x")(lambda event: client.close())
        await connection.send("x||1")
        await client.wait_closed()
        assert connection.close_code == 1000


async def test_a_disconnect_hook_may_end_it_for_good(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        others = asyncio.Event()
        client.on_disconnect(lambda disconnect: client.close())
        client.on_disconnect(lambda disconnect: others.set())
        await connection.close(1012)
        async with asyncio.timeout(WAIT):
            await client.wait_closed()
        assert others.is_set()


async def hang(cancelled: asyncio.Event) -> None:
    try:
        await asyncio.Event().wait()
    finally:
        cancelled.set()


async def start_to_hang(client: EtpClient, connection: ServerConnection) -> asyncio.Event:
    """Have a handler run that hangs; return what says that it was cancelled."""
    cancelled = asyncio.Event()
    client.on("x")(lambda event: hang(cancelled))
    await connection.send("x||1")
    await connection.send("__ping||2")
    await receive(connection)
    return cancelled


async def test_close_cancels_handlers_that_still_run(peer: Peer) -> None:
    async with peer.connected() as (client, connection):
        cancelled = await start_to_hang(client, connection)
    async with asyncio.timeout(WAIT):
        await cancelled.wait()


@pytest.mark.parametrize("code", [1000, 1012], ids=["for good", "until it reconnects"])
async def test_close_cancels_handlers_that_outlived_their_connection(peer: Peer, code: int) -> None:
    async with peer.connected() as (client, connection):
        cancelled = await start_to_hang(client, connection)
        await connection.close(code)
        if code == 1000:
            await client.wait_closed()
        else:
            await peer.accept()
            await client_is_back(client)
        assert not cancelled.is_set()
        await client.close()
        async with asyncio.timeout(WAIT):
            await cancelled.wait()


# Hooks


@pytest.mark.parametrize("failure", [LookupError, Panic])
async def test_a_hook_that_fails_is_reported_and_the_others_run(peer: Peer, failure: type[BaseException]) -> None:
    errors: asyncio.Queue[BaseException] = asyncio.Queue()
    ends: asyncio.Queue[Disconnect] = asyncio.Queue()
    async with peer.connected() as (client, _):
        client.on_error(errors.put)

        @client.on_disconnect
        def broken(disconnect: Disconnect) -> None:
            raise failure("broken hook")

        client.on_disconnect(ends.put)
        await client.close()
    assert isinstance(await get(errors), failure)
    assert await get(ends) == Disconnect(1000, "")


async def test_a_cancelled_task_that_a_hook_waits_for_is_reported_and_the_client_comes_back(peer: Peer) -> None:
    errors: asyncio.Queue[BaseException] = asyncio.Queue()
    async with peer.connected() as (client, connection):
        client.on_error(errors.put)
        client.on_disconnect(wait_for_a_cancelled_task)
        await connection.close(1012)
        assert isinstance(await get(errors), asyncio.CancelledError)
        await peer.accept()


@pytest.mark.parametrize("failure", [LookupError, asyncio.CancelledError, Panic])
async def test_an_error_hook_that_fails_is_logged(
    peer: Peer, caplog: pytest.LogCaptureFixture, failure: type[BaseException]
) -> None:
    others: asyncio.Queue[Exception] = asyncio.Queue()
    async with peer.connected() as (client, connection):

        @client.on_error
        def broken(error: Exception) -> None:
            raise failure("broken hook")

        client.on_error(others.put)
        with caplog.at_level(logging.ERROR, "django_etp"):
            await connection.send("no frame")
            assert isinstance(await get(others), InvalidFrame)
    assert "An on_error hook failed itself." in caplog.text
