"""A test's client in a declared room."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from django_etp import Connection, Event, EventFailed, History, InvalidEventName, etp_event, etp_room, rooms
from django_etp.events.registry import Registry
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest


@pytest.fixture(autouse=True)
def room(etp_registry: Registry) -> None:
    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> dict[str, int]:
        return {"pk": pk}

    @join.event("say")
    async def say(connection: Connection, event: Event, pk: int) -> str:
        await rooms.aemit(join(pk=pk), "said", event.data)
        return event.data

    @join.event("fail")
    async def fail(connection: Connection, event: Event, pk: int) -> None:
        raise ZeroDivisionError

    @join.event("count")
    async def count(connection: Connection, event: Event, pk: int) -> Any:
        try:
            yield pk
            yield event.data
            if event.data == "for ever":
                await asyncio.Event().wait()
        finally:
            connection.data["counted"] = event.data

    @etp_event("counted")
    async def counted(connection: Connection, event: Event) -> Any:
        return connection.data.get("counted")


async def test_a_client_joins_speaks_and_leaves() -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        assert (order.name, order.state) == ("orders/5", {"pk": 5})
        await order.emit("say", "hello")
        assert (await order.expect_event("said")).data == "hello"
        assert (await order.emit_with_ack("say", [1])).json() == [1]
        assert (await order.expect_event()).name == "said"
        await order.leave()
        await rooms.aemit("orders/5", "said")
        await client.expect_nothing(timeout=0.02)


async def test_a_client_answers_inside_the_room() -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        asking = asyncio.create_task(rooms.aemit_with_ack("orders/5", "ready?", timeout=2))
        await order.answer(await order.expect_event("ready?"), "yes")
        (reply,) = await asking
        assert reply.event is not None
        assert reply.event.data == "yes"


async def test_a_failure_inside_the_room_arrives() -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        with pytest.raises(EventFailed, match="handler_error"):
            await order.emit_with_ack("fail")


async def test_another_event_fails_the_test() -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        for name in ("said", "others"):
            await rooms.aemit("orders/5", name)
        with pytest.raises(AssertionError, match="'seen' inside the room 'orders/5'"):
            await order.expect_event("seen")
        with pytest.raises(AssertionError, match="'__left'"):
            await order.expect_left()


async def test_the_reason_of_the_end_is_returned() -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        await rooms.aclear("orders/5")
        assert (await order.expect_left("removed")).code == "removed"
        await client.join("orders/5")
        await rooms.aclear("orders/5")
        with pytest.raises(AssertionError, match="'permission_denied'"):
            await order.expect_left("permission_denied")


async def test_reserved_names_are_no_events() -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        for send in (order.emit, order.emit_with_ack):
            with pytest.raises(InvalidEventName):
                await send("__left")
        with pytest.raises(InvalidEventName):
            await anext(order.stream("__left"))


async def test_a_client_reads_streams_inside_the_room() -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        assert [part.data async for part in order.stream("count", "a")] == ["5", "a"]
        async with aclosing(order.stream("count", "for ever")) as parts:
            assert (await anext(parts)).json() == 5
        while (await client.emit_with_ack("counted")).data != "for ever":
            pass


@pytest.mark.parametrize("code", ["removed", "left"])
async def test_the_end_of_the_membership_ends_the_streams_inside_the_room(code: str) -> None:
    async with guest() as client:
        order = await client.join("orders/5")
        parts = order.stream("count", "for ever")
        await anext(parts)
        if code == "left":
            await order.leave()
        else:
            await rooms.aclear("orders/5")
            await order.expect_left(code)
        assert (await anext(parts)).data == "for ever"
        with pytest.raises(EventFailed) as failed:
            await anext(parts)
        assert failed.value.code == code
        with pytest.raises(EventFailed, match="permission_denied"):
            await anext(order.stream("count"))


async def test_a_client_without_the_subprotocol_cannot_join() -> None:
    async with EtpCommunicator(subprotocols=["etp.ext.v1"]) as client:
        await client.expect_event("__hello")
        with pytest.raises(EventFailed, match="unknown_event"):
            await client.join("orders/5")
    async with EtpCommunicator() as client:
        with pytest.raises(TypeError, match=r"etp\.ext\.v2"):
            await client.join("orders/5")


async def test_a_client_knows_who_is_in_a_room_with_presence() -> None:
    @etp_room("teams/<int:pk>", presence=lambda connection, pk: {"at": pk})
    async def team(connection: Connection, pk: int) -> None: ...

    async with guest() as client, guest() as other:
        joined = await client.join("teams/5")
        assert [entry["info"] for entry in joined.members.values()] == [{"at": 5}]
        assert joined.count is None
        theirs = await other.join("teams/5")
        assert len((await joined.expect_presence())["joined"]) == 1
        assert joined.members == theirs.members
        await theirs.leave()
        await joined.expect_presence()
        assert len(joined.members) == 1
        with pytest.raises(AssertionError):
            await joined.expect_presence(timeout=0.02)


async def test_events_about_members_have_no_position_in_a_room_with_history() -> None:
    @etp_room("teams/<int:pk>", presence=True, history=History())
    async def team(connection: Connection, pk: int) -> None: ...

    async with guest() as client, guest() as other:
        joined = await client.join("teams/5")
        await other.join("teams/5")
        assert len((await joined.expect_presence())["joined"]) == 1
        before = joined.position
        assert before == await rooms.aposition("teams/5")
        await rooms.aemit("teams/5", "said")
        await joined.expect_event("said")
        assert joined.position == await rooms.aposition("teams/5") != before
        await rooms.aemit("teams/5", "first")
        await rooms.aemit("teams/5", "second")
        await joined.expect_event("second", skip_others=True)
        assert joined.position == await rooms.aposition("teams/5")


async def test_a_client_knows_the_count_of_a_crowded_room(settings: Any) -> None:
    settings.ETP = {"PRESENCE_LIMIT": 1}

    @etp_room("teams/<int:pk>", presence=True)
    async def team(connection: Connection, pk: int) -> None: ...

    async with guest() as client, guest() as other:
        joined = await client.join("teams/5")
        theirs = await other.join("teams/5")
        assert (theirs.count, len(theirs.members)) == (2, 1)
        assert await joined.expect_presence() == {"count": 2}
        assert joined.count == 2


async def test_a_room_without_presence_has_no_members() -> None:
    async with guest() as client:
        joined = await client.join("orders/5")
        assert (joined.members, joined.count) == ({}, None)
