"""A connection while it is served: the limits of what it reads, and its end, for whatever reason."""

import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer
from django.test import override_settings

from django_etp import (
    Connection,
    ConnectionClosed,
    Event,
    InvalidFrame,
    MessageTooLarge,
    TooManyEvents,
    etp_event,
    on_connect,
    on_disconnect,
    on_error,
    rooms,
)
from django_etp.events import budget, dispatcher
from django_etp.server import lifecycle
from tests.support.hooks import Panic, both, ends, fail, hook, panic, types
from tests.support.inprocess import Message, Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry", "both_ways")


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


async def test_a_client_that_sends_malformed_frames_only_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    told = errors()
    async with Wire() as wire:
        for _ in range(100):
            wire.put("no frame")
        wire.put("__ping||1")
        assert await wire.text() == "__ack___ping||1"
        wire.put("no frame")  # the 100th, as the ping made up for one
        wire.put("no frame either")
        message = await wire.next()
        assert (message["code"], message["reason"]) == (1008, "too many malformed frames")
        await until(lambda: len(told) == 2)
    assert [type(error) for error in told] == [InvalidFrame, InvalidFrame]
    assert told[-1].frame == "no frame either"
    assert "malformed frames more than valid ones; it is closed with 1008" in caplog.text


async def test_a_valid_frame_now_and_then_does_not_keep_a_flooder_open() -> None:
    async with Wire() as wire:
        for _ in range(19):
            for _ in range(6):
                wire.put("no frame")
            wire.put("__ack_nothing||1")
        wire.put("__ping||1")
        assert await wire.text() == "__ack___ping||1"
        for _ in range(7):
            wire.put("no frame")
        assert (await wire.next())["code"] == 1008


async def test_a_client_that_sends_as_many_valid_frames_as_malformed_ones_stays() -> None:
    async with Wire() as wire:
        for _ in range(500):
            wire.put("no frame")
            wire.put("__ack_nothing||1")
        wire.put("hello||1")
        assert await wire.text() == "__ack_hello||1"


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


async def test_reading_pauses_while_events_hold_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (budget, dispatcher):
        monkeypatch.setattr(module, "MAX_HELD", 20_000)
    door, ran = asyncio.Event(), []

    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        ran.append(event.data)
        await door.wait()

    async with Wire() as wire:
        for _ in range(10):
            wire.put("wait||0||" + "x" * 7_000)
        wire.put("__ping||1")
        await until(lambda: len(ran) == 3)
        assert wire.unread == 8
        door.set()
        assert await wire.text() == "__ack___ping||1"
    assert len(ran) == 10


async def test_reading_pauses_while_malformed_frames_hold_too_many_bytes(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    for module in (budget, dispatcher):
        monkeypatch.setattr(module, "MAX_HELD", 20_000)
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}
    door, told = asyncio.Event(), []

    @etp_event("slow")
    async def slow(connection: Connection, event: Event) -> None:
        await door.wait()

    @on_error
    async def tell(connection: Connection | None, error: BaseException) -> None:
        told.append(error)

    async with Wire() as wire:
        wire.put("slow||0")
        for _ in range(10):
            wire.put("x" * 7_000)
        await until(lambda: wire.unread == 7)
        door.set()
        await until(lambda: wire.unread == 0 and told)
    assert [error.__traceback__ for error in told] == [None]  # it would hold the message again


async def test_answers_are_read_behind_events_that_hold_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (budget, dispatcher):
        monkeypatch.setattr(module, "MAX_HELD", 10_000)

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> str:
        return (await connection.aemit_with_ack("question")).data

    async with Wire() as wire:
        wire.put("ask||1||" + "x" * 12_000)
        assert await wire.text() == "question||1"
        wire.put("__ack_question||1||answer")
        assert await wire.text() == "__ack_ask||1||answer"


async def test_a_pause_in_which_no_event_ends_closes_with_1008(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (budget, dispatcher):
        monkeypatch.setattr(module, "MAX_HELD", 10_000)
    monkeypatch.setattr(budget, "_PAUSE_LIMIT", 0.1)
    etp_event("wait")(lambda connection, event: asyncio.sleep(60))
    async with Wire() as wire:
        wire.put("wait||0||" + "x" * 12_000)
        assert (await wire.next())["code"] == 1008


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


@override_settings(ETP={"SLOW_CLIENT_TIMEOUT": 0.4})
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
    wire.vanish(code, reason="why")
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
    await until(lambda: not wire.unread)
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
    await until(lambda: not wire.unread)
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
    await until(lambda: not wire.unread)
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


async def test_the_client_of_a_cancelled_connection_gets_a_close_behind_the_frames_before_it() -> None:
    wire = await Wire().open()
    await rooms.abroadcast("news", 1)
    wire.task.cancel()
    await rooms.abroadcast("news", 2)
    assert await wire.text() == "news||0||1"
    assert await wire.text() == "news||0||2"
    close = await wire.next()
    assert (close["type"], close["code"]) == ("websocket.close", 1001)
    with pytest.raises(asyncio.CancelledError):
        await wire.task


async def test_the_close_of_a_cancelled_connection_is_written_before_the_process_leaves_its_rooms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    order: list[str] = []
    layer = get_channel_layer()
    discard = layer.group_discard

    async def group_discard(group: str, channel: str) -> None:
        order.append("left")
        await discard(group, channel)

    async def on_send(message: Any) -> None:
        order.append(message["type"])

    monkeypatch.setattr(layer, "group_discard", group_discard)
    wire = await Wire(on_send=on_send).open()
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    assert order[:2] == ["websocket.accept", "websocket.close"]
    assert set(order[2:]) == {"left"}


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
