"""The Channels edge: the handshake, the limits, and the end, whatever brings it about."""

import asyncio
import contextlib
import contextvars
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import ImproperlyConfigured

from django_etp import (
    Connection,
    ConnectionClosed,
    Event,
    InvalidFrame,
    MessageTooLarge,
    RejectConnection,
    TooManyEvents,
    etp_event,
    on_connect,
    on_disconnect,
    on_error,
    rooms,
)
from django_etp.consumers import EtpConsumer
from django_etp.server import handshake, lifecycle
from django_etp.testing import EtpCommunicator, HandshakeRejected
from tests.support.inprocess import Message, Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")

both = pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])


def hook(register: Callable[..., Any], is_async: bool, function: Callable[..., Any]) -> None:
    """Register a function as a hook, as an `async def` or as a plain `def`."""

    async def coroutine_function(*args: Any) -> Any:
        return function(*args)

    def plain_function(*args: Any) -> Any:
        return function(*args)

    register(coroutine_function if is_async else plain_function)


def ends() -> list[tuple[int, str]]:
    """Return a list that will hold what on_disconnect is told."""
    told: list[tuple[int, str]] = []

    @on_disconnect
    async def keep(connection: Connection, disconnect: Any) -> None:
        told.append((disconnect.code, disconnect.reason))

    return told


def reject(connection: Connection) -> None:
    raise RejectConnection("no seat")


def fail(*args: Any) -> None:
    raise ZeroDivisionError


def types(wire: Wire) -> list[str]:
    return [message["type"].removeprefix("websocket.") for message in wire.sent]


# The handshake


async def test_a_handshake_without_hooks_is_accepted() -> None:
    async with Wire() as wire:
        assert types(wire) == ["accept"]


@both
async def test_on_connect_runs_before_the_accept(is_async: bool) -> None:
    wire = Wire()
    sent_before: list[int] = []
    hook(on_connect, is_async, lambda connection: sent_before.append(len(wire.sent)))
    async with wire:
        assert sent_before == [0]


async def test_on_connect_hooks_run_one_after_the_other() -> None:
    ran: list[int] = []
    for number in range(3):

        @on_connect
        async def greet(connection: Connection, number: int = number) -> None:
            await asyncio.sleep(0.001 * (3 - number))
            ran.append(number)

    async with Wire():
        assert ran == [0, 1, 2]


@both
async def test_a_rejected_handshake_is_refused_without_an_accept(is_async: bool) -> None:
    told, ended, after = errors(), ends(), []
    hook(on_connect, is_async, reject)
    on_connect(lambda connection: after.append(connection))
    wire = Wire().start()
    assert await wire.next() == {"type": "websocket.close", "code": 4403, "reason": "no seat"}
    await wire.ended()
    assert types(wire) == ["close"]
    assert told == ended == after == []


@both
async def test_a_rejection_after_an_accept_closes_with_4403(is_async: bool) -> None:
    told, ended = errors(), ends()

    @on_connect
    async def accept(connection: Connection) -> None:
        await connection.aaccept()

    hook(on_connect, is_async, reject)
    async with Wire() as wire:
        assert await wire.next() == {"type": "websocket.close", "code": 4403, "reason": "no seat"}
    assert told == ended == []


async def test_a_long_reason_of_a_rejection_is_cut() -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        raise RejectConnection("ü" * 200)

    wire = Wire().start()
    assert (await wire.next())["reason"] == "ü" * 61
    await wire.ended()


@pytest.mark.parametrize(
    ("reason", "told_to_the_client"),
    [(None, ""), (ValueError("no seat"), "no seat"), (404, "404")],
    ids=repr,
)
async def test_a_rejection_has_a_reason_whatever_it_was_made_with(reason: Any, told_to_the_client: str) -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        raise RejectConnection(reason)

    wire = Wire().start()
    assert await wire.next(timeout=5) == {"type": "websocket.close", "code": 4403, "reason": told_to_the_client}
    await wire.ended()
    assert types(wire) == ["close"]


@pytest.mark.parametrize("reason", [None, ValueError("no seat")], ids=repr)
async def test_a_rejection_after_an_accept_closes_with_4403_whatever_it_was_made_with(reason: Any) -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        await connection.aaccept()
        raise RejectConnection(reason)

    async with Wire() as wire:
        assert (await wire.next(timeout=5))["code"] == 4403


@both
async def test_on_connect_that_raises_refuses_and_is_reported(is_async: bool) -> None:
    told, ended = errors(), ends()
    hook(on_connect, is_async, fail)
    wire = Wire().start()
    assert (await wire.next())["type"] == "websocket.close"
    await wire.ended()
    assert types(wire) == ["close"]
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert ended == []


class Panic(BaseException):
    """As extensions in Rust raise it."""


def panic(*args: Any) -> None:
    raise Panic


@both
async def test_on_connect_that_panics_refuses_and_is_reported(is_async: bool) -> None:
    told = errors()
    hook(on_connect, is_async, panic)
    wire = Wire().start()
    assert (await wire.next(timeout=3))["type"] == "websocket.close"
    await wire.ended()
    assert [type(error) for error in told] == [Panic]


@both
async def test_on_connect_that_raises_after_an_accept_closes_with_1011(is_async: bool) -> None:
    told, ended = errors(), ends()

    @on_connect
    async def accept(connection: Connection) -> None:
        await connection.aaccept()

    hook(on_connect, is_async, fail)
    async with Wire() as wire:
        assert (await wire.next())["code"] == 1011
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert [code for code, _ in ended] == [1011]


async def test_on_connect_that_raises_after_its_client_vanished_is_reported() -> None:
    told, inside = errors(), asyncio.Event()

    @on_connect
    async def wait_and_fail(connection: Connection) -> None:
        inside.set()
        with contextlib.suppress(ConnectionClosed):
            while True:
                await connection.ajoin("lobby")
                await asyncio.sleep(0)
        fail()

    wire = Wire().start()
    await inside.wait()
    wire.vanish()
    await wire.ended()
    assert [type(error) for error in told] == [ZeroDivisionError]


async def test_on_connect_that_raises_after_its_own_close_is_reported() -> None:
    told = errors()

    @on_connect
    async def close_and_fail(connection: Connection) -> None:
        await connection.aclose()
        fail()

    wire = Wire().start()
    assert (await wire.next())["type"] == "websocket.close"
    await wire.ended()
    await until(lambda: told)
    assert [type(error) for error in told] == [ZeroDivisionError]


async def test_on_connect_that_fails_at_a_cancelled_call_refuses() -> None:
    told = errors()

    @on_connect
    async def greet(connection: Connection) -> None:
        sleeping = asyncio.create_task(asyncio.sleep(60))
        sleeping.cancel()
        await sleeping

    wire = Wire().start()
    assert (await wire.next())["type"] == "websocket.close"
    await wire.ended()
    assert [type(error) for error in told] == [asyncio.CancelledError]


async def test_a_plain_on_connect_that_raises_stop_iteration_refuses_at_once() -> None:
    told = errors()
    on_connect(lambda connection: next(iter(())))
    wire = Wire().start()
    assert (await wire.next(timeout=2))["type"] == "websocket.close"
    await wire.ended()
    assert [type(error) for error in told] == [RuntimeError]


async def test_on_connect_that_hangs_is_refused_after_4_seconds() -> None:
    told = errors()

    @on_connect
    async def hang(connection: Connection) -> None:
        await asyncio.Event().wait()

    started = asyncio.get_running_loop().time()
    wire = Wire().start()
    assert (await wire.next())["type"] == "websocket.close"
    assert 3.9 < asyncio.get_running_loop().time() - started < 8
    await wire.ended()
    assert [type(error) for error in told] == [TimeoutError]


async def test_a_plain_on_connect_that_hangs_is_refused_too(monkeypatch: Any) -> None:
    monkeypatch.setattr(handshake, "_CONNECT_LIMIT", 0.05)
    told, door, seen = errors(), threading.Event(), []

    @on_connect
    def hang(connection: Connection) -> None:
        door.wait(10)
        try:
            connection.join("lobby")
        except ConnectionClosed as error:
            seen.append(error)

    wire = Wire().start()
    try:
        assert (await wire.next())["type"] == "websocket.close"
        await wire.ended()
        assert [type(error) for error in told] == [TimeoutError]
    finally:
        door.set()
    await until(lambda: seen)


async def test_a_refusal_does_not_wait_for_on_error() -> None:
    door = asyncio.Event()

    @on_error
    async def hang(connection: Connection | None, error: BaseException) -> None:
        await door.wait()

    hook(on_connect, True, fail)
    wire = Wire().start()
    assert (await wire.next(timeout=1))["type"] == "websocket.close"
    door.set()
    await wire.ended()


async def test_a_client_that_vanishes_in_mid_handshake_is_sent_nothing() -> None:
    told, ended, door, inside = errors(), ends(), asyncio.Event(), asyncio.Event()

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.ajoin("lobby")
        inside.set()
        await door.wait()

    wire = Wire().start()
    await inside.wait()
    wire.vanish()
    await until(lambda: not wire._incoming.qsize())
    door.set()
    await wire.ended()
    assert wire.sent == told == ended == []
    assert await rooms.anames() == []


async def test_a_client_that_vanishes_before_the_handshake_began_is_nobody() -> None:
    ran = []
    hook(on_connect, True, ran.append)
    wire = Wire()
    wire.vanish()
    wire.start()
    await wire.ended()
    assert wire.sent == ran == []


async def test_an_accept_that_fails_is_a_client_that_vanished() -> None:
    told, ended = errors(), ends()

    async def gone(message: Message) -> None:
        raise OSError("the client is gone")

    wire = Wire(on_send=gone).start()
    wire.vanish()
    await wire.ended()
    assert told == ended == []


async def test_events_wait_until_on_connect_has_ended() -> None:
    told: list[str] = []

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.aaccept()
        answer = await connection.aemit_with_ack("question")
        told.append(f"answer {answer.data}")

    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> None:
        told.append(f"event {event.data}")

    async with Wire() as wire:
        for number in range(3):
            wire.put(f"hello||0||{number}")
        assert await wire.text() == "question||1"
        wire.put("__ack_question||1||yes")
        await until(lambda: len(told) == 4)
    assert told == ["answer yes", "event 0", "event 1", "event 2"]


@both
async def test_a_close_in_on_connect_refuses(is_async: bool) -> None:
    told, ended = errors(), ends()

    @on_connect
    async def close(connection: Connection) -> None:
        if is_async:
            await connection.aclose(4000)
        else:
            await asyncio.to_thread(connection.close, 4000)

    wire = Wire().start()
    assert (await wire.next())["type"] == "websocket.close"
    await wire.ended()
    assert types(wire) == ["close"]
    assert told == ended == []


async def test_a_close_after_an_accept_in_on_connect_is_a_close() -> None:
    told, ended = errors(), ends()

    @on_connect
    async def close(connection: Connection) -> None:
        await connection.aaccept()
        await connection.aclose(4000, "enough")

    async with Wire() as wire:
        assert (await wire.next())["code"] == 4000
    assert told == []
    assert ended == [(4000, "enough")]


async def test_what_is_sent_to_the_rooms_of_a_rejected_connection_is_dropped() -> None:
    inside, door = asyncio.Event(), asyncio.Event()

    @on_connect
    async def join_and_reject(connection: Connection) -> None:
        await connection.ajoin("lobby")
        inside.set()
        await door.wait()
        raise RejectConnection

    wire = Wire().start()
    await inside.wait()
    await rooms.aemit("lobby", "news")
    await rooms.abroadcast("news")
    assert (await rooms.acount("lobby"), await rooms.aconnections()) == (0, [])
    door.set()
    await wire.ended()
    assert types(wire) == ["close"]
    assert await rooms.anames() == []


# The origin


async def test_a_cross_origin_handshake_is_refused_before_any_hook(caplog: pytest.LogCaptureFixture) -> None:
    ran = []
    hook(on_connect, True, ran.append)
    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(origin="http://evil.test").connect()
    assert ran == []
    assert "http://evil.test" in caplog.text
    assert "list it in ETP['ALLOWED_ORIGINS']" in caplog.text


async def test_the_log_does_not_advise_to_list_what_no_list_lets_in(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(origin="null").connect()
    assert "pages without an origin" in caplog.text
    assert "list it" not in caplog.text


async def test_the_setting_says_which_origins_are_allowed(settings: Any) -> None:
    settings.ETP = {"ALLOWED_ORIGINS": ["https://shop.test"]}
    async with EtpCommunicator(origin="https://shop.test"):
        pass
    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(origin="http://testserver").connect()


async def test_a_route_may_say_otherwise(settings: Any) -> None:
    settings.ETP = {"ALLOWED_ORIGINS": ["https://shop.test"]}
    application = EtpConsumer.as_asgi(allowed_origins="*")
    async with EtpCommunicator(application, origin="http://evil.test"):
        pass


async def test_a_client_that_vanishes_before_its_origin_is_refused_is_sent_nothing() -> None:
    wire = Wire(headers=[(b"host", b"testserver"), (b"origin", b"http://evil.test")])
    wire.vanish()
    wire.start()
    await wire.ended()
    assert wire.sent == []


async def test_only_websockets_are_served() -> None:
    with pytest.raises(ValueError, match="'http'"):
        await EtpConsumer.as_asgi()({"type": "http", "headers": []}, None, None)


# Limits


@pytest.mark.parametrize(
    "message",
    ["hello||1||" + "x" * 90, b"hello||1||" + b"x" * 90, "hello||1||" + "ü" * 45, ("hello||1||" + "ü" * 45).encode()],
    ids=["text", "bytes", "long characters", "their bytes"],
)
async def test_a_message_of_exactly_the_limit_is_handled(settings: Any, message: str | bytes) -> None:
    settings.ETP = {"MAX_MESSAGE_SIZE": 100}
    async with Wire() as wire:
        wire.put(message)
        assert await wire.text() == "__ack_hello||1"


@pytest.mark.parametrize(
    "message",
    ["hello||1||" + "x" * 91, b"hello||1||" + b"x" * 91, "hello||1||" + "ü" * 46, "x" * 101, b"\xff" * 101],
    ids=["text", "bytes", "long characters", "no frame", "no utf-8"],
)
async def test_a_message_past_the_limit_closes_with_1009_and_is_reported(settings: Any, message: str | bytes) -> None:
    settings.ETP = {"MAX_MESSAGE_SIZE": 100}
    told, ended = errors(), ends()
    async with Wire() as wire:
        wire.put(message)
        assert (await wire.next())["code"] == 1009
        await until(lambda: told)
    assert [type(error) for error in told] == [MessageTooLarge]
    assert [code for code, _ in ended] == [1009]


async def test_the_limit_is_a_megabyte_without_the_setting() -> None:
    async with Wire() as wire:
        wire.put("hello||1||" + "x" * (1048576 - 10))
        assert await wire.text() == "__ack_hello||1"
        wire.put("hello||2||" + "x" * (1048576 - 9))
        assert (await wire.next())["code"] == 1009


async def test_a_flood_closes_with_1008_and_is_reported(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 2, "MAX_QUEUED_EVENTS": 3, "DISCONNECT_GRACE": 0}
    told, ended, ran = errors(), ends(), []

    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        ran.append(event.data)
        await asyncio.Event().wait()

    async with Wire() as wire:
        for number in range(5):
            wire.put(f"wait||0||{number}")
        wire.put("__ping||1")
        assert await wire.text() == "__ack___ping||1"
        wire.put("wait||0||5")
        wire.put("wait||0||6")
        assert (await wire.next())["code"] == 1008
        await until(lambda: told)
    assert ran == ["0", "1"]
    assert [type(error) for error in told] == [TooManyEvents]
    assert [code for code, _ in ended] == [1008]


async def test_a_flood_of_malformed_frames_closes_with_1008(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1, "MAX_QUEUED_EVENTS": 3, "DISCONNECT_GRACE": 0}
    door = asyncio.Event()

    @on_error
    async def slow(connection: Connection | None, error: BaseException) -> None:
        await door.wait()

    async with Wire() as wire:
        for _ in range(5):
            wire.put("no frame")
        assert (await wire.next())["code"] == 1008
        door.set()


async def test_a_flood_while_on_connect_runs_closes_with_1008(settings: Any) -> None:
    settings.ETP = {"MAX_QUEUED_EVENTS": 3}

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.aemit_with_ack("question")

    ran = []
    etp_event("hello")(lambda connection, event: ran.append(event))
    async with Wire() as wire:
        await wire.text()
        for _ in range(4):
            wire.put("hello||0")
        assert (await wire.next())["code"] == 1008
    assert ran == []


async def test_answers_do_not_count_as_a_flood(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1, "MAX_QUEUED_EVENTS": 1}
    async with Wire() as wire:
        for number in range(100):
            wire.put(f"__ack_stray||{number}")
        wire.put("hello||1")
        assert await wire.text() == "__ack_hello||1"


@pytest.mark.parametrize("message", ["", b""])
async def test_an_empty_message_is_a_malformed_frame(message: str | bytes) -> None:
    told = errors()
    async with Wire() as wire:
        wire.put(message)
        await until(lambda: told)
    assert [type(error) for error in told] == [InvalidFrame]


async def test_a_client_that_reads_too_slowly_is_closed_with_1013(caplog: pytest.LogCaptureFixture) -> None:
    begun, reads = asyncio.Event(), asyncio.Event()

    async def slow(message: Message) -> None:
        if message["type"] == "websocket.send":
            begun.set()
            await reads.wait()

    ended = ends()
    wire = Wire(on_send=slow)
    async with wire:
        await rooms.abroadcast("news")
        await begun.wait()
        for _ in range(40):
            await rooms.abroadcast("news", "x" * 1_000_000)
        await until(lambda: "1013" in caplog.text)
        reads.set()
        assert (await wire.next())["type"] == "websocket.send"
        assert (await wire.next())["code"] == 1013
    assert [code for code, _ in ended] == [1013]


# The end


@pytest.mark.parametrize(("code", "expected"), [(1000, 1000), (1001, 1001), (4000, 4000), (None, 1005)])
@both
async def test_on_disconnect_is_told_how_the_client_ended(is_async: bool, code: int | None, expected: int) -> None:
    told: list[Any] = []
    hook(on_disconnect, is_async, lambda connection, disconnect: told.append(disconnect))
    wire = await Wire().open()
    wire._incoming.put_nowait({"type": "websocket.disconnect", "code": code, "reason": "why"})
    await wire.ended()
    assert [(end.code, end.reason, end.is_normal) for end in told] == [(expected, "why", expected == 1000)]


async def test_the_end_comes_once_when_both_sides_close() -> None:
    ended = ends()

    @etp_event("bye")
    async def bye(connection: Connection, event: Event) -> None:
        await connection.aclose(4000)

    wire = await Wire().open()
    wire.put("bye||0")
    wire.vanish(4001)
    await wire.ended()
    assert len(ended) == 1


async def test_while_on_disconnect_runs_the_connection_still_tells_its_rooms_and_data() -> None:
    told: list[Any] = []

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.ajoin("lobby")
        connection.data["name"] = "alice"

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        told.append((connection.rooms, connection.data, await rooms.acount("lobby")))

    async with Wire():
        assert await rooms.acount("lobby") == 1
    assert told == [({"lobby"}, {"name": "alice"}, 0)]


async def test_on_disconnect_hooks_all_run_though_one_fails() -> None:
    told = errors()
    hook(on_disconnect, True, fail)
    hook(on_disconnect, False, fail)
    ended = ends()
    async with Wire():
        pass
    assert len(ended) == 1
    assert [type(error) for error in told] == [ZeroDivisionError] * 2


@both
async def test_an_on_disconnect_that_panics_is_reported_and_the_others_run(is_async: bool) -> None:
    told = errors()
    hook(on_disconnect, is_async, panic)
    ended = ends()
    async with Wire():
        pass
    assert [type(error) for error in told] == [Panic]
    assert len(ended) == 1


async def test_a_plain_on_disconnect_that_raises_stop_iteration_fails_like_any_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = errors()
    on_disconnect(lambda connection, disconnect: next(iter(())))
    ended = ends()
    wire = await Wire().open()
    wire.vanish()
    await wire.ended(timeout=3)
    assert [type(error) for error in told] == [RuntimeError]
    assert "raised StopIteration" in caplog.text
    assert len(ended) == 1


async def await_what_was_cancelled(*args: Any) -> None:
    sleeping = asyncio.create_task(asyncio.sleep(60))
    sleeping.cancel()
    await sleeping


def raise_what_was_cancelled(*args: Any) -> None:
    raise asyncio.CancelledError


cancelled_calls = pytest.mark.parametrize("function", [await_what_was_cancelled, raise_what_was_cancelled])


@cancelled_calls
async def test_an_on_disconnect_that_fails_at_a_cancelled_call_is_reported_and_the_others_run(
    function: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    told = errors()
    on_disconnect(function)
    ended = ends()
    wire = await Wire().open()
    wire.vanish()
    await wire.ended()
    assert wire.task.exception() is None
    assert [type(error) for error in told] == [asyncio.CancelledError]
    assert function.__name__ in caplog.text
    assert len(ended) == 1


@cancelled_calls
async def test_an_on_error_that_fails_at_a_cancelled_call_leaves_the_end_alone(function: Callable[..., Any]) -> None:
    on_error(function)
    told, ended = errors(), []
    on_disconnect(fail)
    on_disconnect(lambda connection, disconnect: ended.append(disconnect))
    wire = await Wire().open()
    wire.vanish()
    await wire.ended()
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert len(ended) == 1


async def test_on_disconnect_that_hangs_is_left_behind(monkeypatch: Any) -> None:
    monkeypatch.setattr(lifecycle, "_DISCONNECT_LIMIT", 0.05)
    told = errors()

    @on_disconnect
    async def hang(connection: Connection, disconnect: Any) -> None:
        await asyncio.Event().wait()

    async with Wire():
        pass
    assert [type(error) for error in told] == [TimeoutError]


async def test_an_on_disconnect_hook_that_hangs_leaves_the_others_their_time(monkeypatch: Any) -> None:
    monkeypatch.setattr(lifecycle, "_DISCONNECT_LIMIT", 3.0)  # half of it is for those after `hang`
    told, ended = errors(), ends()

    @on_disconnect
    async def hang(connection: Connection, disconnect: Any) -> None:
        await asyncio.Event().wait()

    @on_disconnect
    async def take_a_while(connection: Connection, disconnect: Any) -> None:
        await asyncio.sleep(0.01)
        ended.append(disconnect)

    async with Wire():
        pass
    assert len(ended) == 2
    assert [type(error) for error in told] == [TimeoutError]


@both
async def test_a_hook_that_exits_fails_and_the_server_goes_on(is_async: bool) -> None:
    told = errors()
    hook(on_disconnect, is_async, lambda connection, disconnect: sys.exit())
    async with Wire():
        pass
    assert str(told[0]).startswith("sys.exit(None) would have ended the server")


@pytest.mark.parametrize(
    "value",
    [
        ["*"],
        "https://shop.test",
        True,
        ["https://*"],
        ["*:443"],
        ["https://"],
        ["https//shop.test"],
        ["https://shop.test/page"],
        ["https://shop.test:port"],
        ["https://ada@shop.test"],
    ],
)
def test_a_rule_for_origins_that_would_not_do_what_it_says_is_refused_at_once(value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match=r'allowed_origins must be None, "." by itself, or a list'):
        EtpConsumer.as_asgi(allowed_origins=value)


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        ([], None),
        (["access_token", "abc"], "access_token"),
        (["abc", "access_token"], "access_token"),
        (["graphql-ws", "access_token"], "graphql-ws"),
        (["abc"], None),
        (["etp.token.YWJj"], None),
        (["access_token", "abc", "etp.ext.v1"], "etp.ext.v1"),
    ],
)
async def test_the_first_subprotocol_that_is_known_is_selected_and_a_token_never(
    offered: list[str], selected: str | None
) -> None:
    wire = Wire(subprotocols=offered)
    wire.application = EtpConsumer.as_asgi(subprotocols=["access_token", "graphql-ws"])
    wire.start()
    accept = await wire.next()
    assert (accept["type"], accept["subprotocol"]) == ("websocket.accept", selected)
    await wire.leave()


async def test_no_subprotocol_is_selected_where_none_is_named() -> None:
    wire = Wire(subprotocols=["access_token", "abc"]).start()
    assert (await wire.next())["subprotocol"] is None
    await wire.leave()


@pytest.mark.parametrize("value", ["access_token", None, 5, ["a b"], [""], [b"a"], ["etp.ext.v1"], ["etp.token.abc"]])
def test_subprotocols_that_are_none_are_refused_at_once(value: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="subprotocols must be a list of names"):
        EtpConsumer.as_asgi(subprotocols=value)


async def test_on_disconnect_waits_for_on_connect() -> None:
    door, ran = asyncio.Event(), []

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.aaccept()
        await door.wait()
        ran.append("connect")

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        ran.append("disconnect")

    wire = await Wire().open()
    wire.vanish()
    await until(lambda: not wire._incoming.qsize())
    door.set()
    await wire.ended()
    assert ran == ["connect", "disconnect"]


async def test_a_client_that_does_not_answer_our_close_is_left_behind(monkeypatch: Any) -> None:
    monkeypatch.setattr(lifecycle, "_CLOSE_WAIT", 0.05)
    ended = ends()

    @etp_event("bye")
    async def bye(connection: Connection, event: Event) -> None:
        await connection.aclose(4000)

    wire = await Wire().open()
    wire.put("bye||0")
    await wire.ended(timeout=2)
    assert ended == [(4000, "")]


async def test_what_the_client_sends_after_our_close_is_for_nobody() -> None:
    told, ran = errors(), []

    @etp_event("bye")
    async def bye(connection: Connection, event: Event) -> None:
        ran.append(event.data)
        await connection.aclose()

    async with Wire() as wire:
        wire.put("bye||0||first")
        assert (await wire.next())["type"] == "websocket.close"
        for message in ("bye||0||second", "no frame", "x" * 2_000_000, "__ping||1"):
            wire.put(message)
    assert ran == ["first"]
    assert told == []
    assert types(wire) == ["accept", "close"]


async def test_a_running_handler_may_finish_after_the_end(settings: Any) -> None:
    door, finished = asyncio.Event(), []

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> str:
        await door.wait()
        finished.append(event.data)
        return "nobody hears this"

    wire = await Wire().open()
    for number in range(3):
        wire.put(f"work||1||{number}")
    wire.put("__ping||1")
    await wire.text()
    wire.vanish()
    await until(lambda: not wire._incoming.qsize())
    assert not wire.task.done()
    door.set()
    await wire.ended()
    assert finished == ["0", "1", "2"]
    assert types(wire) == ["accept", "send"]


async def test_a_handler_that_does_not_finish_in_time_is_cancelled(settings: Any) -> None:
    settings.ETP = {"DISCONNECT_GRACE": 0.05}
    told, inside, cancelled = errors(), asyncio.Event(), asyncio.Event()

    @etp_event("hang")
    async def hang(connection: Connection, event: Event) -> None:
        inside.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    wire = await Wire().open()
    wire.put("hang||1")
    await inside.wait()
    await wire.leave()
    async with asyncio.timeout(1):
        await cancelled.wait()
    assert told == []


async def test_a_plain_handler_that_does_not_finish_in_time_is_left_behind(settings: Any) -> None:
    settings.ETP = {"DISCONNECT_GRACE": 0.05}
    inside, door = threading.Event(), threading.Event()

    @etp_event("hang")
    def hang(connection: Connection, event: Event) -> None:
        inside.set()
        door.wait(10)

    wire = await Wire().open()
    wire.put("hang||1")
    try:
        await until(inside.is_set)
        await wire.leave()
        assert not door.is_set()
    finally:
        door.set()


async def test_events_that_wait_do_not_begin_after_the_end(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}
    door, began = asyncio.Event(), []

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> None:
        began.append(event.data)
        await door.wait()

    wire = await Wire().open()
    for number in range(3):
        wire.put(f"work||0||{number}")
    wire.put("__ping||1")
    await wire.text()
    wire.vanish()
    await until(lambda: not wire._incoming.qsize())
    door.set()
    await wire.ended()
    assert began == ["0"]


async def test_a_client_that_vanishes_in_mid_ack_ends_the_wait_at_once() -> None:
    told = errors()

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> None:
        await connection.aemit_with_ack("question", timeout=60)

    @etp_event("plain_ask")
    def plain_ask(connection: Connection, event: Event) -> None:
        connection.emit_with_ack("question", timeout=60)

    wire = await Wire().open()
    wire.put("ask||1")
    await wire.text()
    wire.put("plain_ask||2")
    await wire.text()
    wire.vanish()
    await wire.ended(timeout=3)
    assert [type(error) for error in told] == [ConnectionClosed] * 2
    assert types(wire) == ["accept", "send", "send"]


@pytest.mark.parametrize("error", [OSError("the server failed"), TimeoutError("the server failed")], ids=repr)
async def test_a_server_whose_receive_fails_ends_the_connection(error: Exception) -> None:
    ended = ends()

    async def receive() -> Message:
        if not wire.sent:
            return {"type": "websocket.connect"}
        raise error

    wire = Wire()
    with pytest.raises(type(error), match="the server failed"):
        await wire.application(wire.scope, receive, wire._send)
    await until(lambda: ended)
    assert await rooms.aconnections() == []


# A server that ends the connection's task


async def test_a_cancelled_connection_is_cleaned_up_before_its_task_ends() -> None:
    told, ended = errors(), []

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.ajoin("lobby")

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        await asyncio.sleep(0.02)
        ended.append((disconnect.code, await rooms.anames()))

    wire = await Wire().open()
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    assert ended == [(1001, [])]
    assert told == []
    assert await rooms.aconnections() == []


async def test_a_connection_cancelled_in_mid_handshake_is_no_connection() -> None:
    ended, inside, door = ends(), asyncio.Event(), asyncio.Event()

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.ajoin("lobby")
        inside.set()
        await door.wait()

    wire = Wire().start()
    await inside.wait()
    wire.task.cancel()
    await asyncio.sleep(0)
    door.set()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    assert wire.sent == ended == []
    assert await rooms.anames() == []


async def test_a_connection_cancelled_in_mid_handler_gives_the_handler_its_grace(settings: Any) -> None:
    ended, finished, inside, door = ends(), [], asyncio.Event(), asyncio.Event()

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> None:
        inside.set()
        await door.wait()
        finished.append(event.data)

    wire = await Wire().open()
    wire.put("work||1||data")
    await inside.wait()
    wire.task.cancel()
    await until(lambda: ended)
    door.set()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    assert finished == ["data"]


async def test_a_connection_cancelled_while_it_ends_is_cleaned_up_all_the_same() -> None:
    ended, inside, door = [], asyncio.Event(), asyncio.Event()

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        inside.set()
        await door.wait()
        ended.append(disconnect.code)

    wire = await Wire().open()
    wire.vanish()
    await inside.wait()
    wire.task.cancel()
    await asyncio.sleep(0)
    assert not wire.task.done()
    door.set()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    assert ended == [1006]


async def test_cancelled_connections_wait_for_each_others_cleanup() -> None:
    doors, ended = {}, []

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        door = doors[connection.scope["path"]] = asyncio.Event()
        await door.wait()
        ended.append(connection)

    first, second = await Wire(path="/first/").open(), await Wire(path="/second/").open()
    for wire in (first, second):
        wire.task.cancel()
    await until(lambda: len(doors) == 2)
    doors["/first/"].set()
    await until(lambda: len(ended) == 1)
    await asyncio.sleep(0)
    assert not first.task.done()
    doors["/second/"].set()
    await asyncio.wait([first.task, second.task])
    assert len(ended) == 2


# Context variables

language: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="none")


@both
async def test_on_disconnect_runs_in_the_connections_context_whoever_closes_it(is_async: bool) -> None:
    connections: list[Connection] = []
    seen = []
    hook(on_connect, True, connections.append)
    hook(on_disconnect, is_async, lambda connection, disconnect: seen.append(language.get()))
    wire = await Wire().open()
    language.set("the closer's")
    await rooms.adisconnect(connections[0].id)
    assert (await wire.next())["type"] == "websocket.close"
    await wire.leave()
    assert seen == ["none"]


# The hub's report


async def test_the_namespace_of_a_route_has_hooks_of_its_own() -> None:
    ran: list[str] = []
    on_connect(lambda connection: ran.append("default"))
    on_connect(lambda connection: ran.append(connection.namespace), namespace="game")
    async with Wire(namespace="game"):
        pass
    assert ran == ["game"]


async def test_a_class_of_the_projects_own_works_like_ours() -> None:
    class GameConsumer(EtpConsumer):
        pass

    async with EtpCommunicator(GameConsumer.as_asgi(), user=AnonymousUser()) as client:
        assert (await client.emit_with_ack("unknown")).data == ""


@pytest.mark.parametrize("is_own", [False, True], ids=["ours", "own"])
async def test_a_route_takes_its_arguments_by_position_too(is_own: bool) -> None:
    class GameConsumer(EtpConsumer):
        pass

    etp_event("play", namespace="game")(lambda connection, event: "played")
    application = (GameConsumer if is_own else EtpConsumer).as_asgi("game", "*")
    async with EtpCommunicator(application, user=AnonymousUser(), origin="https://elsewhere.test") as client:
        assert (await client.emit_with_ack("play")).data == "played"


async def test_a_client_cannot_write_lines_of_its_own_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    headers = [(b"host", b"testserver"), (b"origin", b"http://evil.test\nforged")]
    await Wire(headers=headers, path="/ws/\nforged").start().ended()
    assert "\n" not in caplog.records[0].getMessage()


async def test_nothing_of_a_handshake_reaches_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    headers = [(b"host", b"testserver"), (b"cookie", b"sessionid=secret"), (b"origin", b"http://evil.test")]
    wire = Wire(headers=headers, query_string=b"token=secret").start()
    await wire.ended()
    assert "evil.test" in caplog.text
    assert "secret" not in caplog.text
