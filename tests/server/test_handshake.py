"""A handshake: accepted, or refused by a hook, its origin or its time."""

import asyncio
import contextlib
import logging
import threading
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied

from django_etp import Connection, ConnectionClosed, Event, RejectConnection, etp_event, on_connect, on_error, rooms
from django_etp.consumers import EtpConsumer
from django_etp.server import handshake
from django_etp.testing import EtpCommunicator, HandshakeRejected
from tests.support.hooks import Panic, both, ends, fail, hook, panic, reject, types
from tests.support.inprocess import Message, Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")

# What a server says that can answer a handshake with another status than 403, such as uvicorn.
HTTP_RESPONSES = {"websocket.http.response": {}}


# The hooks


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
    wire = Wire(extensions=HTTP_RESPONSES).start()
    assert (await wire.next())["status"] == 503
    await wire.ended()
    assert types(wire) == ["http.response.start", "http.response.body"]
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert ended == []


@both
async def test_on_connect_that_raises_closes_with_1013_where_the_server_can_send_no_status(is_async: bool) -> None:
    told, ended = errors(), ends()
    hook(on_connect, is_async, fail)
    wire = Wire(subprotocols=["etp.ext.v1"]).start()
    assert await wire.next() == {"type": "websocket.accept", "subprotocol": "etp.ext.v1"}
    assert await wire.next() == {"type": "websocket.close", "code": 1013, "reason": "try again later"}
    await wire.ended()
    assert types(wire) == ["accept", "close"]
    assert [type(error) for error in told] == [ZeroDivisionError]
    assert ended == []


@pytest.mark.parametrize("extensions", [HTTP_RESPONSES, None], ids=["503", "1013"])
async def test_frames_and_calls_of_a_connection_whose_on_connect_failed_go_nowhere(extensions: Any) -> None:
    joined: list[Connection] = []

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.ajoin("lobby")
        await rooms.aemit("lobby", "news")
        joined.append(connection)
        fail()

    async def emit_meanwhile(message: Message) -> None:
        await rooms.aemit("lobby", "news")
        with pytest.raises(ConnectionClosed):
            await joined[0].aemit("late")

    wire = Wire(extensions=extensions, on_send=emit_meanwhile).start()
    await wire.next()
    await wire.ended()
    expected = ["http.response.start", "http.response.body"] if extensions else ["accept", "close"]
    assert types(wire) == expected


@both
async def test_permission_denied_is_a_refusal_as_reject_connection_is(is_async: bool) -> None:
    told, ended = errors(), ends()
    hook(on_connect, is_async, deny)
    wire = Wire(extensions=HTTP_RESPONSES).start()
    assert await wire.next() == {"type": "websocket.close", "code": 4403, "reason": "not yours"}
    await wire.ended()
    assert types(wire) == ["close"]
    assert told == ended == []


async def test_permission_denied_after_an_accept_closes_with_4403() -> None:
    @on_connect
    async def accept(connection: Connection) -> None:
        await connection.aaccept()
        deny()

    async with Wire() as wire:
        assert await wire.next() == {"type": "websocket.close", "code": 4403, "reason": "not yours"}


def deny(*args: Any) -> None:
    raise PermissionDenied("not yours")


@both
async def test_on_connect_that_panics_refuses_and_is_reported(is_async: bool) -> None:
    told = errors()
    hook(on_connect, is_async, panic)
    wire = Wire(extensions=HTTP_RESPONSES).start()
    assert (await wire.next(timeout=3))["status"] == 503
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

    wire = Wire(extensions=HTTP_RESPONSES).start()
    assert (await wire.next())["status"] == 503
    await wire.ended()
    assert [type(error) for error in told] == [asyncio.CancelledError]


async def test_a_plain_on_connect_that_raises_stop_iteration_refuses_at_once() -> None:
    told = errors()
    on_connect(lambda connection: next(iter(())))
    wire = Wire(extensions=HTTP_RESPONSES).start()
    assert (await wire.next(timeout=2))["status"] == 503
    await wire.ended()
    assert [type(error) for error in told] == [RuntimeError]


async def test_on_connect_that_hangs_is_refused_after_4_seconds() -> None:
    told = errors()

    @on_connect
    async def hang(connection: Connection) -> None:
        await asyncio.Event().wait()

    started = asyncio.get_running_loop().time()
    wire = Wire(extensions=HTTP_RESPONSES).start()
    assert (await wire.next())["status"] == 503
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

    wire = Wire(extensions=HTTP_RESPONSES).start()
    try:
        assert (await wire.next())["status"] == 503
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
    wire = Wire(extensions=HTTP_RESPONSES).start()
    assert (await wire.next(timeout=1))["status"] == 503
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
    await until(lambda: not wire.unread)
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


# The subprotocol


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
