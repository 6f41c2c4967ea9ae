"""The declared rooms of the Python client together, against a server that the test plays itself."""

from collections.abc import AsyncIterator

import pytest

from django_etp.client import EtpClient
from django_etp.exceptions import EtpError, InvalidRoomName
from tests.support.room_peers import V1, V2, Peer, join, pong, receive, start_peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with start_peer() as peer:
        yield peer


async def test_offers_both_extensions(peer: Peer) -> None:
    async with peer.client():
        connection = await peer.accept()
        assert connection.request is not None
        assert connection.request.headers["Sec-WebSocket-Protocol"] == f"{V2}, {V1}"


async def test_events_in_a_room_reach_its_handlers_alone(peer: Peer) -> None:
    async with peer.client() as client:
        room, other, connection, seen = client.room("orders/5"), client.room("orders/6"), await peer.accept(), []
        for name, on in (("room", room.on), ("other", other.on), ("client", client.on)):
            on("say")(lambda event, name=name: seen.append((name, event.data)))
        await join(room, connection)
        await connection.send("__in orders/5 say||0||a b")
        await pong(client, connection)
        assert seen == [("room", "a b")]


async def test_returns_to_its_rooms_in_order_before_anything_else(peer: Peer) -> None:
    async with peer.client() as client:
        connection, states = await peer.accept(), []
        rooms = [client.room(name) for name in ("b/1", "a/1", "c/1")]
        for number, room in enumerate(rooms, 1):
            room.on_state(lambda state, recovered, room=room: states.append((room.name, state, recovered)))
            await join(room, connection, "old", ack=number)
        client.on_connect(lambda: client.emit("hello"))
        states.clear()
        await connection.close(1012)
        connection = await peer.accept()
        frames = [await receive(connection) for _ in range(4)]
        assert frames == [f'__join||{n}||{{"room":"{room.name}"}}' for n, room in enumerate(rooms, 1)] + ["hello||0"]
        assert not rooms[0].is_joined
        for number in (1, 2, 3):
            await connection.send(f'__ack___join||{number}||{{"state":"new","recovered":true}}')
        await pong(client, connection)
        assert states == [("b/1", "new", True), ("a/1", "new", True), ("c/1", "new", True)]
        assert all(room.is_joined for room in rooms)


async def test_a_server_without_declared_rooms_is_named() -> None:
    async with start_peer(V1) as peer, peer.client() as client:
        with pytest.raises(EtpError, match=r"does not speak etp\.ext\.v2"):
            await client.room("orders/5").join()


@pytest.mark.parametrize("name", ["", "a b", "a|b"])
def test_names_that_no_declared_room_has(name: str) -> None:
    with pytest.raises(InvalidRoomName):
        EtpClient("ws://127.0.0.1:1/").room(name)
