"""Events to members of rooms, and their answers, within one process."""

import asyncio
import json
import math
from typing import Any

import pytest

from django_etp import AckTimeout, Connection, ConnectionClosed, Event, EventFailed, etp_event, rooms
from django_etp.cluster.messages import Malformed
from django_etp.hub.process import serving_hub
from django_etp.hub.queries import answer, read_query
from django_etp.rooms import RoomReply
from django_etp.rooms.asking import AskConnection, AskRooms
from tests.support.inprocess import Wire
from tests.support.rooms import Call, answering, clients, got

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_a_question_to_a_room_tells_what_became_of_it_at_each_member(call: Call) -> None:
    async with clients("lobby", "lobby", "lobby", "") as connected:
        first, silent, leaving, _ = connected
        asking = asyncio.ensure_future(call("emit_with_ack", "lobby", "question", {"a": 1}, timeout=0.3))
        await answering(first, "fine")
        question = await silent.expect_event("question")
        assert question.json() == {"a": 1}
        await leaving.expect_event("question")
        await leaving.disconnect()
        replies = {reply.connection_id: reply for reply in await asking}
        assert {id: reply.status for id, reply in replies.items()} == {
            first.id: "answered",
            silent.id: "timed_out",
            leaving.id: "gone",
        }
        assert replies[first.id].event is not None
        assert replies[first.id].event.data == "fine"
        assert [reply.is_answered for reply in replies.values()].count(True) == 1
        assert replies[silent.id].event is replies[leaving.id].event is None
        assert await got(first, silent) == [[], []]


async def test_a_member_of_several_of_the_rooms_is_asked_once(call: Call) -> None:
    async with clients("a b") as (client,):
        asking = asyncio.ensure_future(call("emit_with_ack", ["a", "b"], "question"))
        await answering(client)
        assert len(await asking) == 1
        assert await got(client) == [[]]


async def test_a_question_to_an_empty_room_has_no_replies(call: Call) -> None:
    async with clients(""):
        assert await call("emit_with_ack", ["empty"], "question") == []


async def test_the_members_of_a_room_answer_side_by_side() -> None:
    async with clients(*["lobby"] * 20) as connected:
        asking = asyncio.create_task(rooms.aemit_with_ack("lobby", "question"))
        for client in reversed(connected):
            await answering(client, client.id)
        replies = await asking
    assert {reply.connection_id for reply in replies} == {client.id for client in connected}
    assert all(reply.event and reply.event.data == reply.connection_id for reply in replies)


async def test_one_connection_is_asked(call: Call) -> None:
    async with clients("", "") as (client, other):
        asking = asyncio.ensure_future(call("emit_to_with_ack", client.id, "question", [1]))
        question = await client.expect_event("question")
        assert question.json() == [1]
        await client.answer(question, "fine")
        answer = await asking
        assert (type(answer), answer.data) == (Event, "fine")
        assert await got(other) == [[]]


async def test_one_connection_that_does_not_answer_is_a_timeout(call: Call) -> None:
    async with clients("") as (client,):
        with pytest.raises(AckTimeout):
            await call("emit_to_with_ack", client.id, "question", timeout=0.01)


async def test_the_time_to_answer_is_a_setting(call: Call, settings: Any) -> None:
    settings.ETP = {"ACK_TIMEOUT": 0.01}
    async with clients("lobby") as (client,):
        with pytest.raises(AckTimeout):
            await call("emit_to_with_ack", client.id, "question")
        assert [reply.status for reply in await call("emit_with_ack", "lobby", "question")] == ["timed_out"]


async def test_a_client_that_says_that_the_event_failed_has_no_answer(call: Call) -> None:
    async with clients("lobby", subprotocols=["etp.ext.v1"]) as (client,):
        await client.expect_event("__hello")
        asking = asyncio.ensure_future(call("emit_to_with_ack", client.id, "question"))
        await client.expect_event("question")
        await client.send_frame('__err_question||1||{"code": "busy", "message": "later"}')
        with pytest.raises(EventFailed) as failed:
            await asking
        assert (failed.value.code, failed.value.message) == ("busy", "later")

        asking = asyncio.ensure_future(call("emit_with_ack", "lobby", "question"))
        await client.expect_event("question")
        await client.send_frame('__err_question||2||{"code": "busy", "message": "later"}')
        assert [(reply.status, reply.event) for reply in await asking] == [("failed", None)]


async def test_the_failure_of_a_client_brings_its_facts(call: Call) -> None:
    async with clients("lobby", subprotocols=["etp.ext.v1"]) as (client,):
        await client.expect_event("__hello")
        asking = asyncio.ensure_future(call("emit_to_with_ack", client.id, "question"))
        await client.expect_event("question")
        facts = {"errors": [{"path": ["a", 1]}], "details": {"left": 2**60}, "retry_after": 1.5}
        await client.send_frame(f"__err_question||1||{json.dumps({'code': 'busy', **facts})}")
        with pytest.raises(EventFailed) as failed:
            await asking
    failure = failed.value
    assert {"errors": failure.errors, "details": failure.details, "retry_after": failure.retry_after} == facts
    assert failure.is_from_peer


async def test_one_connection_that_goes_before_it_answers_is_gone(call: Call) -> None:
    async with clients("") as (client,):
        asking = asyncio.ensure_future(call("emit_to_with_ack", client.id, "question"))
        await client.expect_event("question")
        await client.disconnect()
        with pytest.raises(ConnectionClosed):
            await asking


async def test_a_handler_may_ask_its_own_room() -> None:
    @etp_event("poll")
    async def poll(connection: Connection, event: Event) -> list[str]:
        replies = await rooms.aemit_with_ack("lobby", "question")
        return sorted(reply.event.data for reply in replies if reply.event)

    async with clients("lobby", "lobby") as (first, second):
        polling = asyncio.create_task(first.emit_with_ack("poll"))
        await answering(first, "first")
        await answering(second, "second")
        assert (await polling).json() == ["first", "second"]


@pytest.mark.parametrize(
    ("action", "arguments"), [("ask_one", ["id", "question", ""]), ("ask_rooms", [["lobby"], "question", ""])]
)
async def test_a_time_that_is_no_number_is_refused_before_a_timer_takes_it(action: str, arguments: list[Any]) -> None:
    """In asyncio's heap of timers a NaN is neither early nor late: others behind it would be minutes late."""
    async with Wire():
        with pytest.raises(Malformed, match="does not take the arguments"):
            await serving_hub().ask(None, action, "default", *arguments, math.nan, timeout=5)


# Between processes, as releases before query classes did it


async def test_old_processes_ask_the_members_of_rooms() -> None:
    plain = ["default", ["lobby", "empty"], "question", '{"a":1}', 2.5]
    query = AskRooms.create("default", ["lobby", "empty"], "question", {"a": 1}, 2.5)
    assert read_query("ask_rooms", plain) == query
    assert query.to_plain() == plain
    async with clients("lobby") as (client,):
        asking = asyncio.ensure_future(answer(serving_hub(), "ask_rooms", plain))
        await answering(client, "fine")
        assert await asking == [[client.id, "answered", "__ack_question", "1", "fine"]]


async def test_old_processes_ask_one_connection() -> None:
    async with clients("") as (client,):
        plain = ["default", client.id, "question", "", 0.01]
        query = AskConnection.create("default", client.id, "question", None, 0.01)
        assert read_query("ask_one", plain) == query
        assert query.to_plain() == plain
        assert await answer(serving_hub(), "ask_one", plain) == [client.id, "timed_out"]
        assert await answer(serving_hub(), "ask_one", ["default", "gone", "question", "", 1]) is None


def test_the_replies_of_old_processes_are_read() -> None:
    rows = [["a", "answered", "__ack_question", "7", "fine"], ["b", "gone"], ["c", "failed", "busy", "later"]]
    assert AskRooms("default", ("lobby",), "question", "", 1).merge([rows[:1], [], rows[1:]]) == [
        RoomReply("a", "answered", Event("__ack_question", 7, "fine")),
        RoomReply("b", "gone"),
        RoomReply("c", "failed"),
    ]
    to_one = AskConnection("default", "id", "question", "", 1)
    assert to_one.merge([None, rows[0]]) == Event("__ack_question", 7, "fine")
    for row, error in [(rows[1], ConnectionClosed), (rows[2], EventFailed), (["d", "timed_out"], AckTimeout)]:
        with pytest.raises(error):
            to_one.merge([row])
