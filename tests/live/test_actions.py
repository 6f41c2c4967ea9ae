"""What the page does for the staff, and how the admin's log describes it."""

import asyncio
from types import SimpleNamespace

import pytest

from django_etp import Connection, etp_room
from django_etp.connections.peer import Peer
from django_etp.exceptions import ConnectionClosed
from django_etp.hub.process import serving_hub
from django_etp.live import actions
from django_etp.live.actions import Action
from django_etp.live.rows import ConnectionRow
from tests.support.declared import guest
from tests.support.rooms import RoomClient, clients, got

pytestmark = pytest.mark.usefixtures("etp_registry")

ADA = SimpleNamespace(pk=7, username="Ada", is_authenticated=True)


def row_of(client: RoomClient) -> ConnectionRow:
    hub = serving_hub()
    peer = hub.membership.find(client.id)
    assert isinstance(peer, Peer)
    return ConnectionRow.of(peer, hub)


async def run(action: Action) -> tuple[str, str]:
    """Do it in a thread, as a view does; return what the log will say."""
    await asyncio.to_thread(action.run)
    return action.target, action.done


async def test_a_connection_is_closed() -> None:
    async with clients("", namespace="game", user=ADA) as (client,):
        row = row_of(client)
        done = await run(actions.disconnect(row, 1012, "please come back"))
        assert done == (f"connection {client.id} of Ada", "Closed with 1012: please come back")
        assert (await client.expect_close(1012)).reason == "please come back"
        assert actions.disconnect(row, 1000, "").done == "Closed with 1000."


async def test_closing_a_connection_that_is_gone_raises() -> None:
    async with clients("") as (client,):
        row = row_of(client)
    with pytest.raises(ConnectionClosed):
        await run(actions.disconnect(row, 1000, ""))


async def test_a_message_reaches_a_connection_a_user_or_a_room() -> None:
    async with clients("lobby", "", user=ADA) as (one, two), clients("lobby") as (other,):
        row = row_of(one)
        assert await run(actions.send_to_connection(row, "note", '"hello"')) == (
            f"connection {one.id} of Ada",
            "Sent the event note.",
        )
        assert (await one.expect_event("note")).data == '"hello"'
        assert await run(actions.send_to_user(row, "to-user", None)) == ("user Ada", "Sent the event to-user.")
        assert await run(actions.send_to_room("default", "lobby", "to-room", None)) == (
            "room lobby",
            "Sent the event to-room.",
        )
        assert await got(one, two, other) == [["to-user", "to-room"], ["to-user"], ["to-room"]]


async def test_a_connection_is_taken_out_of_a_room() -> None:
    async with clients("lobby kitchen") as (client,):
        assert await run(actions.leave("default", client.id, "lobby")) == (
            f"connection {client.id}",
            "Taken out of the room lobby.",
        )
        assert client.connection.rooms == {"kitchen"}


async def test_the_client_of_a_declared_room_is_told() -> None:
    left = []

    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> str:
        connections.append(connection.id)
        return "state"

    @order_room.on_leave
    async def gone(connection: Connection, pk: int) -> None:
        left.append(pk)

    connections: list[str] = []
    async with guest() as client:
        await client.join("orders/5")
        await run(actions.leave("default", connections[0], "orders/5"))
        assert (await client.expect_event("__left")).json()["room"] == "orders/5"
        assert left == [5]
