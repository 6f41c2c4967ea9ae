"""From an event to its handler, and from what that returns to the answer."""

import asyncio
import contextvars
import json
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError
from django.db import connection as database

from django_etp import (
    AckTimeout,
    Connection,
    ConnectionClosed,
    Event,
    InvalidFrame,
    InvalidPayload,
    etp_event,
    on_connect,
    on_unknown_event,
)
from django_etp.concurrency import database as database_module
from django_etp.server import maintenance
from django_etp.testing import EtpCommunicator
from tests.support.hooks import Panic, both, handler, panic
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry", "both_ways")

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "wire-vectors.json").read_text())


def fail(connection: Connection, event: Event) -> None:
    raise ZeroDivisionError("secret details")


# Answers


@both
@pytest.mark.parametrize(
    ("result", "frame"),
    [
        (None, "__ack_hello||7"),
        ("", "__ack_hello||7"),
        ("text", "__ack_hello||7||text"),
        ("a||b", "__ack_hello||7||a||b"),
        ({"a": 1}, '__ack_hello||7||{"a":1}'),
        (False, "__ack_hello||7||false"),
        (0, "__ack_hello||7||0"),
    ],
)
async def test_what_a_handler_returns_is_the_answer(is_async: bool, result: object, frame: str) -> None:
    handler("hello", is_async, lambda connection, event: result)
    async with EtpCommunicator() as client:
        await client.send_frame("hello||7")
        assert await client.receive_frame() == frame


async def test_of_several_answers_to_an_unknown_event_only_the_last_must_be_one_that_can_be_sent() -> None:
    on_unknown_event(lambda connection, event: object())
    on_unknown_event(lambda connection, event: "answer")
    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("unknown")).data == "answer"


@both
async def test_an_event_that_wants_no_answer_gets_none(is_async: bool) -> None:
    handler("hello", is_async, lambda connection, event: "answer")
    async with EtpCommunicator() as client:
        await client.send_frame("hello||0||data")
        await client.send_frame("hello||1")
        assert await client.receive_frame() == "__ack_hello||1||answer"


@pytest.mark.parametrize("ack_id", [1, -1, 2**63 - 1, -(2**63)])
async def test_any_number_but_0_is_answered(ack_id: int) -> None:
    handler("hello", True, lambda connection, event: event.ack_id)
    async with EtpCommunicator() as client:
        await client.send_frame(f"hello||{ack_id}")
        assert await client.receive_frame() == f"__ack_hello||{ack_id}||{ack_id}"


@both
async def test_a_handler_gets_the_event(is_async: bool) -> None:
    got: list[Event] = []
    handler("hello", is_async, lambda connection, event: got.append(event))
    async with EtpCommunicator() as client:
        await client.send_frame("hello||5||a||b")
        await client.receive_frame()
    assert got == [Event("hello", 5, "a||b")]


async def test_the_empty_name_has_a_handler_like_any_other() -> None:
    handler("", True, lambda connection, event: "empty name handled")
    async with EtpCommunicator() as client:
        await client.send_frame("||1")
        assert await client.receive_frame() == "__ack_||1||empty name handled"


async def test_a_binary_message_is_handled_like_a_text_one() -> None:
    handler("hello", True, lambda connection, event: event.data)
    async with EtpCommunicator() as client:
        await client.send_frame("hello||1||ünï".encode())
        assert await client.receive_frame() == "__ack_hello||1||ünï"


# Unknown events


async def test_an_unknown_event_gets_an_empty_answer() -> None:
    async with EtpCommunicator() as client:
        await client.send_frame("unknown||3||data")
        assert await client.receive_frame() == "__ack_unknown||3"


async def test_an_unknown_event_that_wants_no_answer_gets_none() -> None:
    async with EtpCommunicator() as client:
        await client.send_frame("unknown||0")
        await client.expect_nothing(timeout=0.02)


@both
async def test_on_unknown_event_answers_it(is_async: bool) -> None:
    async def answer(connection: Connection, event: Event) -> object:
        return {"unknown": event.name}

    def plain_answer(connection: Connection, event: Event) -> object:
        return {"unknown": event.name}

    on_unknown_event(answer if is_async else plain_answer)
    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("what")).json() == {"unknown": "what"}


async def test_of_several_on_unknown_event_hooks_all_run_and_the_last_that_is_not_none_answers() -> None:
    ran = []
    for result in ("first", "second", None):

        @on_unknown_event
        async def hook(connection: Connection, event: Event, result: str | None = result) -> str | None:
            ran.append(result)
            return result

    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("what")).data == "second"
    assert ran == ["first", "second", None]


@pytest.mark.parametrize("name", ["__something", "__err_question", "__hello"])
async def test_a_reserved_name_is_unknown(name: str) -> None:
    async with EtpCommunicator() as client:
        await client.send_frame(f"{name}||3")
        assert await client.receive_frame() == f"__ack_{name}||3"


async def test_on_unknown_event_answers_a_client_that_speaks_the_extensions_too() -> None:
    @on_unknown_event
    async def other(connection: Connection, event: Event) -> str:
        return f"no {event.name}"

    async with EtpCommunicator(subprotocols=["etp.ext.v1"]) as client:
        assert (await client.emit_with_ack("what")).data == "no what"


async def test_events_for_a_namespace_without_handlers_are_told_to_the_log_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    namespace = f"without {uuid.uuid4()}"
    etp_event("hello", namespace="staff")(lambda connection, event: None)
    for _ in range(2):
        async with EtpCommunicator(namespace=namespace) as client:
            await client.emit_with_ack("hello")
    [told] = [message for message in caplog.messages if namespace in message]
    assert "'staff'" in told


async def test_an_unknown_event_beside_known_ones_is_not_told_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    namespace = f"with {uuid.uuid4()}"
    etp_event("hello", namespace=namespace)(lambda connection, event: None)
    async with EtpCommunicator(namespace=namespace) as client:
        await client.emit_with_ack("what")
    assert caplog.messages == []


# Answers of the client


@pytest.mark.parametrize(
    "frame", ["__ack_||1", "__ack_hello||1||data", "__ack_hello||0", "__ack_hello||-1", "__ack_||0"]
)
async def test_an_answer_that_nobody_waits_for_is_dropped_in_silence(frame: str) -> None:
    told = errors()
    unknown = []
    on_unknown_event(lambda connection, event: unknown.append(event))
    async with EtpCommunicator() as client:
        await client.send_frame(frame)
        await client.expect_nothing(timeout=0.02)
    assert told == unknown == []


# Ping


async def test_a_ping_is_answered_past_handlers_and_queues(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}
    door = asyncio.Event()

    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        await door.wait()

    async with EtpCommunicator() as client:
        for _ in range(3):
            await client.emit("wait")
        await client.send_frame("__ping||9||data")
        assert await client.receive_frame() == "__ack___ping||9"
        door.set()


async def test_a_ping_that_wants_no_answer_gets_none() -> None:
    async with EtpCommunicator() as client:
        await client.send_frame("__ping||0")
        await client.expect_nothing(timeout=0.02)


# What goes wrong


@both
async def test_what_a_handler_raises_reaches_on_error_and_the_connection_lives(is_async: bool) -> None:
    told = errors()
    handler("fail", is_async, fail)
    handler("hello", is_async, lambda connection, event: "hello")
    async with EtpCommunicator() as client:
        await client.send_frame("fail||1")
        assert (await client.emit_with_ack("hello")).data == "hello"
        await until(lambda: told)
        await client.expect_nothing(timeout=0.02)
    assert [repr(error) for error in told] == ["ZeroDivisionError('secret details')"]


@both
@pytest.mark.parametrize(
    "result", [object(), b"bytes", {1, 2}, float("nan"), "\ud800"], ids=lambda value: type(value).__name__
)
async def test_what_json_cannot_hold_is_no_answer_and_reaches_on_error(is_async: bool, result: object) -> None:
    told = errors()
    handler("hello", is_async, lambda connection, event: result)
    async with EtpCommunicator() as client:
        await client.send_frame("hello||1")
        await until(lambda: told)
        await client.expect_nothing(timeout=0.02)
    assert [type(error) for error in told] == [InvalidPayload]


async def test_what_json_cannot_hold_is_no_error_where_no_answer_is_wanted() -> None:
    told = errors()
    handler("hello", True, lambda connection, event: object())
    async with EtpCommunicator() as client:
        await client.send_frame("hello||0")
        await client.send_frame("unknown||1")
        await client.receive_frame()
    assert told == []


async def test_on_unknown_event_that_raises_is_reported_and_answers_nothing() -> None:
    told = errors()
    on_unknown_event(fail)
    async with EtpCommunicator() as client:
        await client.send_frame("unknown||1")
        await until(lambda: told)
        await client.expect_nothing(timeout=0.02)


@pytest.mark.django_db(transaction=True)
async def test_after_a_database_error_the_next_async_handler_has_a_fresh_connection(monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_FRESH_FOR", 3600.0)
    monkeypatch.setattr(maintenance, "_DATABASE_EVERY", 3600.0)
    told = errors()

    def spoil() -> None:
        database.ensure_connection()
        database.errors_occurred = True

    @etp_event("fail")
    async def fail_at_the_database(connection: Connection, event: Event) -> None:
        await sync_to_async(spoil)()
        raise OperationalError("server closed the connection unexpectedly")

    @etp_event("look")
    async def look(connection: Connection, event: Event) -> bool:
        return await sync_to_async(lambda: database.errors_occurred)()

    async with Wire() as wire:
        wire.put("fail||0")
        await until(lambda: told)
        wire.put("look||1")
        assert await wire.text() == "__ack_look||1||false"


@both
async def test_a_handler_that_exits_fails_and_the_server_goes_on(is_async: bool) -> None:
    told = errors()
    handler("exit", is_async, lambda connection, event: sys.exit(3))
    handler("hello", is_async, lambda connection, event: "hello")
    async with Wire() as wire:
        wire.put("exit||1")
        await until(lambda: told)
        wire.put("hello||2")
        assert await wire.text() == "__ack_hello||2||hello"
    assert str(told[0]).startswith("sys.exit(3) would have ended the server")
    assert isinstance(told[0].__cause__, SystemExit)


@both
async def test_a_handler_that_panics_fails_like_any_other(is_async: bool) -> None:
    told = errors()
    handler("panic", is_async, panic)
    async with Wire(subprotocols=["etp.ext.v1"]) as wire:
        assert (await wire.text()).startswith("__hello||")
        wire.put("panic||1")
        assert (await wire.text()).startswith('__err_panic||1||{"code":"handler_error"')
    assert [type(error) for error in told] == [Panic]


async def test_a_plain_handler_that_raises_stop_iteration_fails_like_any_other() -> None:
    told = errors()
    handler("fail", False, lambda connection, event: next(iter(())))
    async with Wire(subprotocols=["etp.ext.v1"]) as wire:
        assert (await wire.text()).startswith("__hello||")
        wire.put("fail||1")
        assert (await wire.text()).startswith('__err_fail||1||{"code":"handler_error"')
    assert [type(error) for error in told] == [RuntimeError]
    assert isinstance(told[0].__cause__, StopIteration)


async def test_plain_handlers_that_raise_stop_iteration_give_their_places_to_the_next(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1, "SYNC_WORKERS": 1}
    handler("fail", False, lambda connection, event: next(iter(())))
    handler("hello", False, lambda connection, event: "hello")
    async with Wire() as wire:
        wire.put("fail||0")
        wire.put("hello||1")
        assert await wire.text() == "__ack_hello||1||hello"


@pytest.mark.parametrize("frame", [v["wire"] for v in VECTORS["decode"] if "error" in v], ids=ascii)
async def test_a_malformed_frame_is_reported_and_the_connection_stays_open(frame: str) -> None:
    told = errors()
    async with EtpCommunicator() as client:
        await client.send_frame(frame)
        await client.send_frame(frame.encode())
        await client.send_frame("hello||1")
        assert await client.receive_frame() == "__ack_hello||1"
        await until(lambda: told)
        await client.expect_nothing(timeout=0.01)
    assert [type(error) for error in told] == [InvalidFrame]


@pytest.mark.parametrize("message", [b"\xff", b"hello||1||\xff", b"\xed\xa0\x80||1", b"hello||\x80", b"\xc3"])
async def test_bytes_that_are_no_utf8_are_a_malformed_frame(message: bytes) -> None:
    told = errors()
    async with EtpCommunicator() as client:
        await client.send_frame(message)
        await client.send_frame("hello||1")
        assert await client.receive_frame() == "__ack_hello||1"
        await until(lambda: told)
    assert [type(error) for error in told] == [InvalidFrame]


async def test_a_burst_that_is_there_at_once_is_handled_and_no_flood(settings: Any) -> None:
    """A server that has read many messages hands them over without a turn of the loop in between."""
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 10, "MAX_QUEUED_EVENTS": 100}

    @etp_event("double")
    async def double(connection: Connection, event: Event) -> str:
        await asyncio.sleep(0)
        return event.data * 2

    async with Wire() as wire:
        for number in range(1, 2001):
            wire.put(f"double||{number}||ab")
        answers = {await wire.text() for _ in range(2000)}
    assert answers == {f"__ack_double||{number}||abab" for number in range(1, 2001)}


async def test_a_handler_that_hangs_holds_up_nothing(settings: Any) -> None:
    settings.ETP = {"DISCONNECT_GRACE": 0}

    @etp_event("hang")
    async def hang(connection: Connection, event: Event) -> None:
        await asyncio.Event().wait()

    handler("hello", True, lambda connection, event: "hello")
    async with EtpCommunicator() as client:
        await client.emit("hang")
        await client.emit("hang")
        assert (await client.emit_with_ack("hello")).data == "hello"


async def test_a_handler_that_closes_gets_no_answer() -> None:
    @etp_event("bye")
    async def bye(connection: Connection, event: Event) -> str:
        await connection.aclose()
        return "after close"

    async with EtpCommunicator() as client:
        await client.send_frame("bye||1")
        await client.expect_close(1000)


async def test_a_handler_that_closes_twice_closes_once() -> None:
    @etp_event("bye")
    async def bye(connection: Connection, event: Event) -> None:
        await connection.aclose(4001)
        await connection.aclose(4002)

    async with Wire() as wire:
        wire.put("bye||1")
        assert (await wire.next())["code"] == 4001
        await wire.leave()
        assert [message["type"] for message in wire.sent] == ["websocket.accept", "websocket.close"]


async def test_a_handler_that_emits_after_its_close_fails() -> None:
    told = errors()

    @etp_event("bye")
    async def bye(connection: Connection, event: Event) -> None:
        await connection.aclose()
        await connection.aemit("news")

    async with EtpCommunicator() as client:
        await client.send_frame("bye||1")
        await client.expect_close(1000)
        await until(lambda: told)
    assert [type(error) for error in told] == [ConnectionClosed]


async def test_a_cancelled_call_inside_a_handler_is_an_error_like_any_other() -> None:
    told = errors()

    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> None:
        sleeping = asyncio.create_task(asyncio.sleep(60))
        sleeping.cancel()
        await sleeping

    async with EtpCommunicator() as client:
        await client.send_frame("hello||1")
        await until(lambda: told)
        assert (await client.emit_with_ack("unknown")).data == ""
    assert [type(error) for error in told] == [asyncio.CancelledError]


# Concurrency


class Crowd:
    """A handler that waits until it is let go, counted."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.seen: list[str] = []
        self.door = asyncio.Event()

    async def __call__(self, connection: Connection, event: Event) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        self.seen.append(event.data)
        await self.door.wait()
        self.inside -= 1
        return event.data


async def test_events_of_one_connection_run_side_by_side() -> None:
    crowd = Crowd()
    etp_event("wait")(crowd)
    async with EtpCommunicator() as client:
        for number in range(50):
            await client.emit("wait", number)
        await until(lambda: crowd.inside == 50)
        crowd.door.set()


async def test_no_more_of_them_run_than_the_setting_says(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 3}
    crowd = Crowd()
    etp_event("wait")(crowd)
    async with EtpCommunicator() as client:
        for number in range(1, 11):
            await client.send_frame(f"wait||{number}")
        await until(lambda: crowd.inside == 3)
        crowd.door.set()
        answered = [decode_ack(await client.receive_frame()) for _ in range(10)]
    assert sorted(answered) == list(range(1, 11))
    assert crowd.most == 3


def decode_ack(frame: str) -> int:
    return int(frame.split("||")[1])


@both
async def test_one_at_a_time_is_strictly_in_order(settings: Any, is_async: bool) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}
    told = errors()
    seen: list[str] = []

    async def slow(connection: Connection, event: Event) -> str:
        seen.append(f"{event.data} begins")
        await asyncio.sleep(0)
        seen.append(f"{event.data} ends")
        return event.data

    def plain_slow(connection: Connection, event: Event) -> str:
        seen.extend([f"{event.data} begins", f"{event.data} ends"])
        return event.data

    etp_event("slow")(slow if is_async else plain_slow)
    async with EtpCommunicator() as client:
        for number in range(1, 21):
            await client.send_frame(f"slow||{number}||{number}")
            if number == 10:
                await client.send_frame("no frame")
        assert [decode_ack(await client.receive_frame()) for _ in range(20)] == list(range(1, 21))
    assert seen == [f"{number} {what}" for number in range(1, 21) for what in ("begins", "ends")]
    assert len(told) == 1


async def test_a_handler_that_awaits_an_answer_does_not_hold_it_up(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> str:
        return (await connection.aemit_with_ack("question", event.data)).data

    async with EtpCommunicator() as client:
        asking = [asyncio.create_task(client.emit_with_ack("ask", number)) for number in range(5)]
        for number in range(5):
            question = await client.expect_event("question")
            assert question.json() == number
            await client.answer(question, question.data)
        assert [answer.json() for answer in await asyncio.gather(*asking)] == list(range(5))


async def test_plain_handlers_that_wait_for_answers_starve_neither_hooks_nor_others(settings: Any) -> None:
    settings.ETP = {"SYNC_WORKERS": 8}
    greeted = []

    @on_connect
    def greet(connection: Connection) -> None:
        greeted.append(connection)

    @etp_event("ask")
    def ask(connection: Connection, event: Event) -> str:
        return connection.emit_with_ack("question").data

    handler("async", True, lambda connection, event: "still here")
    async with Wire() as asker:
        for number in range(1, 41):
            asker.put(f"ask||{number}")
        questions = [await asker.text() for _ in range(4)]  # half of the threads
        async with Wire() as other:
            assert len(greeted) == 2
            other.put("async||1")
            assert await other.text() == "__ack_async||1||still here"
        answers = set()
        while len(answers) < 40:
            for question in questions:
                asker.put(f"__ack_{question}||fine")
            questions.clear()
            frame = await asker.text()
            if frame.startswith("__ack_ask||"):
                answers.add(frame)
            else:
                questions.append(frame)
    assert answers == {f"__ack_ask||{number}||fine" for number in range(1, 41)}


async def test_plain_handlers_of_one_connection_run_side_by_side() -> None:
    barrier = threading.Barrier(3, timeout=5)
    handler("meet", False, lambda connection, event: str(barrier.wait() >= 0))
    async with Wire() as wire:
        for number in range(1, 4):
            wire.put(f"meet||{number}")
        assert {await wire.text() for _ in range(3)} == {f"__ack_meet||{number}||True" for number in range(1, 4)}


# A handler is a task like any other


async def test_timeouts_work_in_a_handler() -> None:
    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "timed out"
        return "did not"

    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("hello")).data == "timed out"


async def test_a_timeout_around_a_question_is_the_callers_own() -> None:
    told = errors()

    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> None:
        async with asyncio.timeout(0.01):
            await connection.aemit_with_ack("question", timeout=60)

    async with EtpCommunicator() as client:
        await client.emit("hello")
        await until(lambda: told)
    assert type(told[0]) is TimeoutError
    assert not isinstance(told[0], AckTimeout)


async def test_task_groups_work_in_a_handler() -> None:
    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> list[str]:
        async with asyncio.TaskGroup() as group:
            asking = [group.create_task(connection.aemit_with_ack("question", number)) for number in range(3)]
        return [task.result().data for task in asking]

    async with EtpCommunicator() as client:
        asking = asyncio.create_task(client.emit_with_ack("hello"))
        for _ in range(3):
            question = await client.expect_event("question")
            await client.answer(question, question.data)
        assert (await asking).json() == ["0", "1", "2"]


async def test_an_error_in_a_task_group_cancels_the_handler_and_is_reported() -> None:
    told = errors()
    ended = []

    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> None:
        async def wait() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("other")

        async with asyncio.TaskGroup() as group:
            group.create_task(wait())
            await asyncio.sleep(0)
            group.create_task(asyncio.to_thread(int, "no number"))
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("body")

    async with EtpCommunicator() as client:
        await client.emit("hello")
        await until(lambda: told)
    assert isinstance(told[0], ExceptionGroup)
    assert sorted(ended) == ["body", "other"]


@pytest.mark.parametrize("is_queued", [False, True])
async def test_each_handler_is_a_task_of_its_own(settings: Any, is_queued: bool) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1 if is_queued else 100}
    tasks = set()

    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> None:
        before = asyncio.current_task()
        await asyncio.sleep(0.001)
        assert asyncio.current_task() is before
        tasks.add(before)

    async with EtpCommunicator() as client:
        await asyncio.gather(*(client.emit_with_ack("hello") for _ in range(5)))
    assert len(tasks) == 5


async def test_a_handler_may_cancel_itself() -> None:
    told = errors()
    handler("hello", True, lambda connection, event: "hello")

    @etp_event("stop")
    async def stop(connection: Connection, event: Event) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with EtpCommunicator() as client:
        await client.emit("stop")
        assert (await client.emit_with_ack("hello")).data == "hello"
    assert told == []


async def test_a_cancelled_handler_gives_its_place_to_the_next(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}
    tasks = []

    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        tasks.append(asyncio.current_task())
        await asyncio.Event().wait()

    handler("hello", True, lambda connection, event: "hello")
    async with EtpCommunicator() as client:
        await client.emit("wait")
        asking = asyncio.create_task(client.emit_with_ack("hello"))
        await until(lambda: tasks)
        tasks[0].cancel()
        assert (await asking).data == "hello"


# Context variables

language: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="none")


@both
@pytest.mark.parametrize("at_once", [1, 100])
async def test_no_handler_sees_the_context_variables_of_another(settings: Any, is_async: bool, at_once: int) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": at_once}

    def tell_and_set(connection: Connection, event: Event) -> str:
        before = language.get()
        language.set(event.data)
        return before

    handler("hello", is_async, tell_and_set)
    async with EtpCommunicator() as client:
        answers = await asyncio.gather(*(client.emit_with_ack("hello", str(number)) for number in range(5)))
    assert [answer.data for answer in answers] == ["none"] * 5


async def test_no_handler_sees_the_context_variables_of_a_hook() -> None:
    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.aaccept()
        language.set("fr")
        await connection.aemit_with_ack("wait")

    handler("hello", True, lambda connection, event: language.get())
    async with EtpCommunicator() as client:
        early = asyncio.create_task(client.emit_with_ack("hello"))
        await client.answer(await client.expect_event("wait"))
        assert (await early).data == "none"
        assert (await client.emit_with_ack("hello")).data == "none"


async def test_a_handler_sees_the_context_variables_of_the_middleware_around_the_consumer() -> None:
    handler("hello", True, lambda connection, event: language.get())
    wire = Wire()
    inner = wire.application

    async def middleware(*args: Any) -> None:
        language.set("de")
        await inner(*args)

    wire.application = middleware
    async with wire:
        wire.put("hello||1")
        assert await wire.text() == "__ack_hello||1||de"
