"""Take all connections of a user out of rooms, wherever they are."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User

from django_etp import Connection, InvalidRoomName, etp_room, on_connect, rooms
from django_etp.exceptions import EtpError
from django_etp.server.serving import current_serving
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest, join_frame
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")

ANA, BEN = User(pk=1, username="ana"), User(pk=2, username="ben")


async def members(*names: str) -> list[int]:
    return [await rooms.acount(name) for name in names]


async def test_all_connections_of_the_user_leave() -> None:
    on_connect(lambda connection: connection.join("a", "b", "c"))
    async with EtpCommunicator(user=ANA), EtpCommunicator(user=ANA), EtpCommunicator(user=BEN):
        await rooms.aleave("a", "x", user=ANA)
        assert await members("a", "b", "c") == [1, 3, 3]
        await asyncio.to_thread(rooms.leave, "b", user=ANA.pk)
        assert await members("a", "b", "c") == [1, 1, 3]
        await rooms.aleave(user=ANA)
        assert await members("a", "b", "c") == [1, 1, 1]
        await rooms.of("staff").aleave(user=BEN)
        assert await members("a", "b", "c") == [1, 1, 1]


async def test_the_user_still_gets_what_is_sent_to_the_user() -> None:
    async with EtpCommunicator(user=ANA) as client:
        await rooms.aleave(user=ANA)
        await rooms.aemit(rooms.user(ANA), "hello")
        await client.expect_event("hello")


@pytest.mark.parametrize("room", ["a", None])
async def test_a_connection_inside_its_hooks_does_not_join_afterwards(room: str | None) -> None:
    is_running, gate = asyncio.Event(), asyncio.Event()

    @on_connect
    async def enter(connection: Connection) -> None:
        await connection.aaccept()
        is_running.set()
        await gate.wait()
        await connection.ajoin("a", "b")

    async with EtpCommunicator(user=ANA) as client:
        await is_running.wait()
        await (rooms.aleave(user=ANA) if room is None else rooms.aleave(room, user=ANA))
        gate.set()
        await until(lambda: not current_serving().hub.membership._barred)
        assert await members("a", "b") == [0, int(room is not None)]
        (connection,) = await rooms.aconnections()
        await rooms.ajoin(connection.id, "a")
        assert await members("a") == [1]
        await client.expect_nothing(timeout=0.01)


async def test_a_connection_inside_a_join_is_not_let_in() -> None:
    gate = asyncio.Event()

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        if pk == 5:
            await gate.wait()

    async with guest(user=ANA) as client:
        order = await client.join("orders/6")
        await client.send_frame(join_frame("orders/5", 9))
        await until(lambda: current_serving().hub.membership.room(("default", "orders/5")))
        await rooms.aleave(user=ANA)
        await order.expect_left("removed")
        gate.set()
        assert (await client.expect_event("__err___join")).json()["code"] == "removed"
        await rooms.aemit(["orders/5", "orders/6"], "changed")
        await client.expect_nothing()
        await client.join("orders/5")


async def test_a_connection_that_has_not_asked_the_rule_yet_is_not_let_in() -> None:
    gate, asked = asyncio.Event(), []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None: ...

    @join.allow
    async def allow(user: Any, pk: int) -> bool:
        asked.append(pk)
        await gate.wait()
        return True

    async with guest(user=ANA) as client:
        await client.send_frame(join_frame("orders/5", 9))
        await until(lambda: asked)
        await rooms.aleave(user=ANA)
        gate.set()
        assert (await client.expect_event("__err___join")).json()["code"] == "removed"
        assert await members("orders/5") == [0]


async def test_a_bar_ends_with_its_connection() -> None:
    is_running = asyncio.Event()

    @on_connect
    async def hang(connection: Connection) -> None:
        is_running.set()
        await asyncio.Event().wait()

    wire = Wire(user=ANA).start()
    await is_running.wait()
    await rooms.aleave(user=ANA)
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.task
    await until(lambda: not current_serving().hub.membership._barred)


@pytest.mark.parametrize("user", [AnonymousUser(), User()])
async def test_a_user_without_a_key_is_refused(user: Any) -> None:
    with pytest.raises(InvalidRoomName, match="a primary key"):
        await rooms.aleave("a", user=user)
    with pytest.raises(InvalidRoomName, match="a primary key"):
        await rooms.arecheck(user=user)


@pytest.mark.parametrize("room", [5, "__user.1", "x" * 1001])
async def test_a_room_that_is_none_is_refused(room: Any) -> None:
    with pytest.raises(EtpError):
        await rooms.aleave(room, user=ANA)


async def test_without_a_user_the_first_argument_is_a_connection() -> None:
    with pytest.raises(TypeError, match="A connection's id must be str"):
        await rooms.aleave()
