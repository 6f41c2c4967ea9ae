"""Answers that are sent in a way of their own: nothing comes between them and what follows."""

import asyncio
from typing import Any

import pytest

from django_etp import Connection, Event, etp_event, etp_room, rooms
from tests.support.declared import guest, join_frame, refused
from tests.support.inprocess import until

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.mark.django_db(transaction=True)
async def test_a_removal_follows_the_answer_to_a_join_during_which_another_event_changes_data() -> None:
    from django.contrib.sessions.backends.db import SessionStore

    changed, described = asyncio.Event(), asyncio.Event()

    @etp_event("change")
    async def change(connection: Connection, event: Event) -> None:
        await described.wait()
        connection.data["seen"] = 1
        changed.set()
        await asyncio.sleep(0.05)  # it has not saved the data yet

    async def describe(connection: Connection, pk: int) -> dict[str, Any]:
        described.set()
        await changed.wait()
        members.append(connection)
        return {}

    async def remove() -> None:
        await until(lambda: members)
        peer = members[0]._peer
        for _ in range(1000):  # no timer: the answer must not have waited when the membership begins
            if peer.hub.membership.guests.get(peer.id, "orders/5").is_inside:
                break
            await asyncio.sleep(0)
        await members[0].aleave("orders/5")

    members: list[Any] = []

    @etp_room("orders/<int:pk>", presence=describe)
    async def order_room(connection: Connection, pk: int) -> None:
        pass

    session = SessionStore()
    await session.acreate()
    async with guest(session=session) as client:
        removal = asyncio.create_task(remove())
        await client.send_frame("change||1||")
        await client.send_frame(join_frame("orders/5", 2))
        assert (await client.receive_frame()).startswith("__ack___join||2||")
        assert (await client.receive_frame()).startswith("__left||0||")
        await removal


async def test_a_join_that_asks_for_no_answer_gets_the_events_of_the_room() -> None:
    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None:
        await rooms.aemit("orders/5", "joined")

    async with guest() as client:
        await client.send_frame(join_frame("orders/5", 0))
        assert await client.receive_frame() == "__in orders/5 joined||0"
        await client.expect_nothing()


async def test_a_state_that_cannot_be_sent_refuses_the_join() -> None:
    @etp_room("orders/<int:pk>", presence=True)
    async def order_room(connection: Connection, pk: int) -> str:
        return "\ud800"

    async with guest() as client:
        await refused(client, "orders/5", "handler_error")
        assert await rooms.acount("orders/5") == 0
        assert await rooms.apresent("orders/5") == []
