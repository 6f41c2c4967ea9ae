"""The connection that handlers receive: what it tells, and what can be sent to it."""

import asyncio
import datetime
import inspect
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db.models import QuerySet

from django_etp import (
    AckTimeout,
    Connection,
    ConnectionClosed,
    Event,
    InvalidCloseCode,
    InvalidEventName,
    InvalidPayload,
    InvalidRoomName,
    SyncCallInEventLoop,
    etp_event,
    on_connect,
    on_disconnect,
    rooms,
)
from django_etp.testing import EtpCommunicator
from tests.support.hooks import both
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry", "both_ways")

Call = Callable[..., Awaitable[Any]]


def kept() -> list[Connection]:
    """Return a list that will hold each connection as it comes."""
    connections: list[Connection] = []

    @on_connect
    async def keep(connection: Connection) -> None:
        connections.append(connection)

    return connections


def calling(connection: Connection, is_async: bool) -> Call:
    """Return a function that calls one of the connection's methods: the coroutine, or the plain twin in a thread."""

    async def call(name: str, *args: Any, **options: Any) -> Any:
        if is_async:
            return await getattr(connection, f"a{name}")(*args, **options)
        return await asyncio.to_thread(getattr(connection, name), *args, **options)

    return call


# The contract of what handlers get: as the documentation lists it, and nothing else.
ATTRIBUTES = {"data", "id", "namespace", "rooms", "scope", "session", "user", "user_id"}
METHODS = ["accept", "close", "emit", "emit_with_ack", "join", "leave", "ping"]  # each with a coroutine twin


def test_its_public_names_are_those_of_the_contract() -> None:
    public = {name for name in dir(Connection) if not name.startswith("_")}
    assert public == {*ATTRIBUTES, *METHODS, *(f"a{name}" for name in METHODS)}


# What it tells


async def test_ids_are_never_the_same() -> None:
    connections = kept()
    async with EtpCommunicator(), EtpCommunicator():
        pass
    first, second = connections
    assert first.id != second.id
    assert first.id.partition(".")[0] == second.id.partition(".")[0] != ""
    assert first.id in repr(first)


async def test_it_knows_its_user_and_what_may_be_known_of_it() -> None:
    connections = kept()
    before = datetime.datetime.now(datetime.UTC)
    async with EtpCommunicator(user=User(pk=7, username="alice")):
        (connection,) = connections
        await connection.ajoin("b", "a")
        assert (connection.user.get_username(), connection.user_id) == ("alice", 7)
        info = await rooms.aget(connection.id)
    assert info is not None
    assert (info.id, info.user_id, info.rooms) == (connection.id, 7, ("a", "b"))
    assert before <= info.connected_at <= datetime.datetime.now(datetime.UTC)


async def test_without_middleware_it_is_anonymous_and_has_no_session() -> None:
    connections = kept()
    async with Wire(user=None):
        (connection,) = connections
        assert not connection.user.is_authenticated
        assert connection.user.get_username() == ""
        assert connection.session is None
        info = await rooms.aget(connection.id)
        assert info is not None
        assert info.user_id is None


async def test_its_scope_is_that_of_the_handshake() -> None:
    connections = kept()
    async with EtpCommunicator(path="/ws/?color=blue", scope={"url_route": {"kwargs": {"room": "lobby"}}}):
        assert connections[0].scope["query_string"] == b"color=blue"
        assert connections[0].scope["url_route"]["kwargs"] == {"room": "lobby"}


async def test_its_data_belongs_to_it_alone() -> None:
    connections = kept()
    async with EtpCommunicator(), EtpCommunicator():
        connections[0].data["name"] = "alice"
        assert connections[1].data == {}


async def test_its_rooms_are_those_it_is_in_and_after_its_end_those_it_was_in() -> None:
    connections = kept()
    async with EtpCommunicator():
        (connection,) = connections
        assert connection.rooms == frozenset()
        await connection.ajoin("lobby", "game")
        await connection.ajoin("lobby")
        assert connection.rooms == {"lobby", "game"}
        await connection.aleave("game", "never joined")
        assert connection.rooms == {"lobby"}
    assert connection.rooms == {"lobby"}
    assert await rooms.acount("lobby") == 0


# Sending


@both
async def test_what_is_emitted_arrives_in_order(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        call = calling(connections[0], is_async)
        for data in (None, "text", {"id": 7}, ""):
            await call("emit", "news", data)
        assert [await client.receive_frame() for _ in range(4)] == [
            "news||0",
            "news||0||text",
            'news||0||{"id":7}',
            "news||0",
        ]


class UserEncoder(json.JSONEncoder):
    """Writes users by their names, which it asks the database for."""

    def default(self, o: Any) -> Any:
        return [user.username for user in o] if isinstance(o, QuerySet) else super().default(o)


@pytest.mark.django_db(transaction=True)
async def test_what_plain_code_sends_becomes_json_in_its_thread(settings: Any) -> None:
    settings.ETP = {"JSON_ENCODER": UserEncoder}
    await User.objects.acreate(username="ada")

    @etp_event("tell")
    def tell(connection: Connection, event: Event) -> Any:
        connection.emit("news", User.objects.all())
        return connection.emit_with_ack("question", User.objects.all()).data

    async with EtpCommunicator() as client:
        await client.send_frame("tell||1")
        assert await client.receive_frame() == 'news||0||["ada"]'
        assert await client.receive_frame() == 'question||1||["ada"]'
        await client.send_frame("__ack_question||1||fine")
        assert await client.receive_frame() == "__ack_tell||1||fine"


async def test_an_emit_waits_while_its_client_is_far_behind_in_reading() -> None:
    connections, reads, count = kept(), asyncio.Event(), 0
    reads.set()

    async def take(message: Any) -> None:
        await reads.wait()

    async def emit() -> None:
        nonlocal count
        for number in range(1000):
            await connections[0].aemit("news", number)
            count = number + 1

    async with Wire(on_send=take) as wire:
        reads.clear()
        await rooms.aemit_to(connections[0].id, "stuck")
        emitting = asyncio.create_task(emit())
        await until(lambda: count > 0)
        for _ in range(10):
            await asyncio.sleep(0)
        assert count < 300
        reads.set()
        await emitting
        await until(lambda: len(wire.sent) == 1002)


@pytest.mark.parametrize("timeout", ["5", float("nan"), datetime.timedelta(seconds=5), [5]], ids=repr)
async def test_a_time_that_is_no_number_of_seconds_is_refused(timeout: Any) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        for name, args in [("emit_with_ack", ["question"]), ("ping", [])]:
            for is_async in (True, False):
                with pytest.raises(TypeError, match="timeout= must be a number of seconds"):
                    await calling(connections[0], is_async)(name, *args, timeout=timeout)
        await client.expect_nothing(timeout=0.01)


@both
async def test_a_question_gets_its_answer(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        asking = asyncio.create_task(calling(connections[0], is_async)("emit_with_ack", "question", {"a": 1}))
        question = await client.expect_event("question")
        assert (question.ack_id, question.json()) == (1, {"a": 1})
        await client.answer(question, "fine")
        assert await asking == Event("__ack_question", 1, "fine")


async def test_answers_find_their_questions_in_whatever_order_they_come() -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        asking = [asyncio.create_task(connections[0].aemit_with_ack("question", n)) for n in range(5)]
        questions = [await client.expect_event("question") for _ in range(5)]
        for question in reversed(questions):
            await client.answer(question, question.data)
        assert [answer.data for answer in await asyncio.gather(*asking)] == ["0", "1", "2", "3", "4"]


@both
async def test_a_question_without_an_answer_times_out(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator():
        with pytest.raises(AckTimeout, match="question"):
            await calling(connections[0], is_async)("emit_with_ack", "question", timeout=0.01)


async def test_the_time_for_an_answer_is_a_setting(settings: Any) -> None:
    settings.ETP = {"ACK_TIMEOUT": 0.01}
    connections = kept()
    async with EtpCommunicator():
        with pytest.raises(AckTimeout, match=r"0\.01 s"):
            await connections[0].aemit_with_ack("question")


async def test_an_answer_after_the_timeout_answers_no_later_question() -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        with pytest.raises(AckTimeout):
            await connections[0].aemit_with_ack("question", timeout=0.01)
        late = await client.expect_event("question")
        asking = asyncio.create_task(connections[0].aemit_with_ack("question"))
        question = await client.expect_event("question")
        await client.answer(late, "late")
        await client.answer(question, "in time")
        assert (await asking).data == "in time"


async def test_of_two_answers_to_a_question_the_second_is_dropped() -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        asking = asyncio.create_task(connections[0].aemit_with_ack("question"))
        question = await client.expect_event("question")
        await client.answer(question, "first")
        await client.answer(question, "second")
        assert (await asking).data == "first"
        await client.expect_nothing()


@both
async def test_a_question_ends_at_once_when_the_client_goes(is_async: bool) -> None:
    connections = kept()
    client = EtpCommunicator()
    await client.connect()
    asking = asyncio.create_task(calling(connections[0], is_async)("emit_with_ack", "question", timeout=60))
    await client.expect_event("question")
    await client.disconnect()
    async with asyncio.timeout(2):
        with pytest.raises(ConnectionClosed):
            await asking


@both
async def test_a_ping_tells_how_long_the_answer_took(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        pinging = asyncio.create_task(calling(connections[0], is_async)("ping"))
        ping = await client.expect_event("__ping")
        assert (ping.ack_required, ping.data) == (True, "")
        await asyncio.sleep(0.02)
        await client.answer(ping)
        assert 0.01 < await pinging < 5


async def test_a_ping_without_an_answer_times_out() -> None:
    connections = kept()
    async with EtpCommunicator():
        with pytest.raises(AckTimeout):
            await connections[0].aping(timeout=0.01)


@both
@pytest.mark.parametrize("method", ["emit", "emit_with_ack"])
@pytest.mark.parametrize("name", ["__ack_news", "__ping", "a||b", "a|", 7])
async def test_names_that_are_not_for_events_are_refused(is_async: bool, method: str, name: str) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        with pytest.raises(InvalidEventName):
            await calling(connections[0], is_async)(method, name)
        await client.expect_nothing(timeout=0.01)


@both
@pytest.mark.parametrize("method", ["emit", "emit_with_ack"])
async def test_data_that_json_cannot_hold_is_refused(is_async: bool, method: str) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        with pytest.raises(InvalidPayload):
            await calling(connections[0], is_async)(method, "news", object())
        await client.expect_nothing(timeout=0.01)


async def test_a_question_that_was_refused_is_not_waited_for() -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        with pytest.raises(InvalidPayload):
            await connections[0].aemit_with_ack("question", object())
        asking = asyncio.create_task(connections[0].aemit_with_ack("question"))
        await client.answer(await client.expect_event("question"))
        await asking


async def test_it_can_be_used_from_another_event_loop() -> None:
    connections = kept()
    async with EtpCommunicator() as client:

        async def elsewhere() -> str:
            await connections[0].aemit("news")
            return (await connections[0].aemit_with_ack("question")).data

        working = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
        await client.expect_event("news")
        await client.answer(await client.expect_event("question"), "fine")
        assert await working == "fine"


# Rooms


@both
async def test_it_joins_and_leaves_rooms(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        call = calling(connections[0], is_async)
        await call("join", "lobby", "game")
        assert await rooms.anames() == ["game", "lobby"]
        await call("leave", "game")
        await rooms.aemit(["lobby", "game"], "news")
        await client.expect_event("news")
        await client.expect_nothing(timeout=0.01)


@both
async def test_rooms_of_which_one_is_none_are_not_joined(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator():
        with pytest.raises(InvalidRoomName):
            await calling(connections[0], is_async)("join", "lobby", 7)
        assert connections[0].rooms == frozenset()


# The end


@both
async def test_it_is_closed_behind_what_was_sent(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        await connections[0].aemit("last words")
        await calling(connections[0], is_async)("close", 4000, "enough")
        await client.expect_event("last words")
        assert (await client.expect_close(4000)).reason == "enough"


async def test_a_close_is_normal_without_a_code() -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        await connections[0].aclose()
        assert (await client.expect_close()).is_normal


@both
async def test_closed_twice_it_has_the_first_code(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        call = calling(connections[0], is_async)
        await call("close", 4000)
        await call("close", 4001)
        await client.expect_close(4000)


@both
@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1006, ""), (99, ""), (1000, "x" * 124)])
async def test_a_close_that_rfc_6455_forbids_is_refused(is_async: bool, code: int, reason: str) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        with pytest.raises(InvalidCloseCode):
            await calling(connections[0], is_async)("close", code, reason)
        await connections[0].aemit("still here")
        await client.expect_event("still here")


@both
@pytest.mark.parametrize(
    "call", [("emit", "news"), ("emit_with_ack", "news"), ("ping",), ("join", "lobby"), ("accept",)]
)
@pytest.mark.parametrize("closed_by", ["us", "the client"])
async def test_after_the_end_nothing_can_be_done_with_it(is_async: bool, call: tuple[str, ...], closed_by: str) -> None:
    connections = kept()
    client = EtpCommunicator()
    await client.connect()
    if closed_by == "us":
        await connections[0].aclose()
    else:
        await client.disconnect()
    with pytest.raises(ConnectionClosed):
        await calling(connections[0], is_async)(*call)
    await client.disconnect()


async def test_in_the_moment_of_its_end_nothing_can_be_done_with_it() -> None:
    connections = kept()
    async with EtpCommunicator():
        (connection,) = connections
        await connection.aclose()
        with pytest.raises(ConnectionClosed):
            await connection.ajoin("lobby")
        assert await rooms.anames() == []


@both
async def test_leaving_and_closing_after_the_end_do_nothing(is_async: bool) -> None:
    connections = kept()
    async with EtpCommunicator():
        pass
    await calling(connections[0], is_async)("leave", "lobby")
    await calling(connections[0], is_async)("close", 4000)


async def test_while_on_disconnect_runs_it_is_closed() -> None:
    raised: list[BaseException] = []

    @on_disconnect
    async def gone(connection: Connection, disconnect: object) -> None:
        for call in (connection.aemit("news"), connection.aemit_with_ack("news"), connection.ajoin("lobby")):
            try:
                await call
            except Exception as error:
                raised.append(error)

    async with EtpCommunicator():
        pass
    assert [type(error) for error in raised] == [ConnectionClosed] * 3


# The accept


@both
@pytest.mark.parametrize("call", [("accept",), ("emit", "news")])
async def test_on_connect_can_accept_at_once(is_async: bool, call: tuple[str, ...]) -> None:
    door = asyncio.Event()

    @on_connect
    async def accept(connection: Connection) -> None:
        await calling(connection, is_async)(*call)
        await calling(connection, is_async)("accept")
        await door.wait()

    async with Wire() as wire:
        assert not door.is_set()
        if call[0] == "emit":
            assert await wire.text() == "news||0"
        door.set()


@both
@pytest.mark.parametrize("method", ["emit_with_ack", "ping"])
async def test_a_question_in_on_connect_accepts_and_gets_its_answer(is_async: bool, method: str) -> None:
    answered = []

    @on_connect
    async def ask(connection: Connection) -> None:
        args = ("question",) if method == "emit_with_ack" else ()
        answered.append(await calling(connection, is_async)(method, *args))

    async with EtpCommunicator() as client:
        await client.answer(await client.expect_event())
        await until(lambda: answered)


@both
@pytest.mark.parametrize("args", [("__news",), ("news", object())], ids=["name", "data"])
@pytest.mark.parametrize("method", ["emit", "emit_with_ack"])
async def test_what_cannot_be_sent_accepts_nothing(is_async: bool, method: str, args: tuple[Any, ...]) -> None:
    @on_connect
    async def send(connection: Connection) -> None:
        await calling(connection, is_async)(method, *args)

    wire = Wire(extensions={"websocket.http.response": {}}).start()
    refusal = await wire.next()
    assert (refusal["type"], refusal["status"]) == ("websocket.http.response.start", 503)
    await wire.ended()


# The twins


@pytest.mark.parametrize("name", METHODS)
def test_twins_take_the_same_arguments(name: str) -> None:
    plain, coroutine = getattr(Connection, name), getattr(Connection, f"a{name}")
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.signature(plain) == inspect.signature(coroutine)
    assert plain.__doc__ == f"See a{name}()."


@pytest.mark.parametrize("name", METHODS)
async def test_a_plain_twin_in_an_event_loop_raises_and_names_the_other(name: str) -> None:
    connections = kept()
    async with EtpCommunicator() as client:
        args = {"emit": ["news"], "emit_with_ack": ["news"], "join": ["lobby"], "leave": ["lobby"]}.get(name, [])
        with pytest.raises(SyncCallInEventLoop, match=rf"await a{name}\("):
            getattr(connections[0], name)(*args)
        await client.expect_nothing(timeout=0.01)


async def test_a_plain_twin_in_an_async_handler_raises_at_once() -> None:
    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> str:
        try:
            connection.emit("news")
        except RuntimeError as error:
            return type(error).__name__
        return "no error"

    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("hello")).data == "SyncCallInEventLoop"


async def test_a_plain_handler_uses_the_plain_twins() -> None:
    @etp_event("hello")
    def hello(connection: Connection, event: Event) -> str:
        connection.join("lobby")
        connection.emit("news")
        answer = connection.emit_with_ack("question")
        connection.leave("lobby")
        return answer.data

    async with EtpCommunicator() as client:
        asking = asyncio.create_task(client.emit_with_ack("hello"))
        await client.expect_event("news")
        await client.answer(await client.expect_event("question"), "fine")
        assert (await asking).data == "fine"


async def test_threads_may_use_one_connection_at_once() -> None:
    connections = kept()
    async with EtpCommunicator() as client:

        def work(name: int) -> None:
            for number in range(50):
                connections[0].emit("news", [name, number])

        threads = [threading.Thread(target=work, args=[name]) for name in range(4)]
        for thread in threads:
            thread.start()
        frames = [(await client.expect_event("news")).json() for _ in range(200)]
        await sync_to_async(lambda: [thread.join() for thread in threads])()
        for name in range(4):
            assert [number for of, number in frames if of == name] == list(range(50))
