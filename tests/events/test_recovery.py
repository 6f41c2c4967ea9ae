"""Rooms with history over the wire: positions, and clients that come back."""

import asyncio
from typing import Any

import pytest

from django_etp import Connection, Event, History, HistoryUnavailable, etp_event, etp_room, rooms
from django_etp.history.store import NewEvent
from django_etp.hub.names import group_name
from django_etp.hub.process import serving_hub
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest, join_frame, refused


def declare(**options: Any) -> Any:
    @etp_room("orders/<int:pk>", history=History(), **options)
    async def order(connection: Connection, pk: int) -> dict[str, int]:
        return {"pk": pk}

    return order


async def emit(*data: str, room: str = "orders/5") -> None:
    for each in data:
        await rooms.aemit(room, "changed", each)


async def id_of(client: EtpCommunicator) -> str:
    return (await client.emit_with_ack("id")).data


@pytest.fixture(autouse=True)
def _handlers(etp_registry: Any) -> None:
    @etp_event("id")
    async def tell_id(connection: Connection, event: Event) -> str:
        return connection.id


async def frames(client: EtpCommunicator, count: int) -> list[str]:
    return [await client.receive_frame() for _ in range(count)]


async def test_a_join_is_answered_with_the_position_and_events_come_with_theirs() -> None:
    declare()
    async with guest() as client:
        position = await rooms.aposition("orders/5")
        epoch = position.partition(".")[0]
        await client.send_frame(join_frame("orders/5", 7))
        assert await client.receive_frame() == (
            f'__ack___join||7||{{"state":{{"pk":5}},"position":"{epoch}.0","recovered":false}}'
        )
        await emit("a", "b")
        assert await frames(client, 2) == [
            f"__in orders/5@{epoch}.{n} changed||0||{data}" for n, data in [(1, "a"), (2, "b")]
        ]
        assert await rooms.aposition("orders/5") == f"{epoch}.2"


async def test_a_client_that_comes_back_gets_what_it_missed_once_and_in_order() -> None:
    declare()
    async with guest() as client:
        room = await client.join("orders/5")
        await emit("a")
        await room.expect_event("changed")
        seen = room.position
    await emit("b", "c")
    async with guest() as client:
        room = await client.join("orders/5", since=seen)
        assert room.recovered
        assert room.position == await rooms.aposition("orders/5")
        await emit("d")
        assert [(await room.expect_event("changed")).data for _ in range(3)] == ["b", "c", "d"]
        again = await client.join("orders/5", since=room.position)
        assert again.recovered
        await emit("e")
        assert (await again.expect_event("changed")).data == "e"


@pytest.mark.parametrize("since", ["", "x", "00000000.1", "5", "@"])
async def test_another_position_is_not_recovered(since: str) -> None:
    declare()
    await emit("a")
    async with guest() as client:
        room = await client.join("orders/5", since=since)
        assert not room.recovered
        await emit("b")
        assert (await room.expect_event("changed")).data == "b"


@pytest.mark.parametrize("since", ["null", "5", "{}", "[1]"])
async def test_a_position_of_another_type_is_not_recovered(since: str) -> None:
    declare()
    async with guest() as client:
        await client.send_frame(f'__join||1||{{"room": "orders/5", "since": {since}}}')
        assert '"recovered":false' in await client.receive_frame()


async def test_a_history_that_is_too_short_recovers_nothing() -> None:
    @etp_room("orders/<int:pk>", history=History(size=1))
    async def order(connection: Connection, pk: int) -> int:
        return pk

    start = await rooms.aposition("orders/5")
    await emit(*map(str, range(150)))
    async with guest() as client:
        room = await client.join("orders/5", since=start)
        assert not room.recovered
        await emit("later")
        assert (await room.expect_event("changed")).data == "later"


async def test_the_state_is_never_older_than_the_position() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()
    numbers = [0]

    @etp_room("orders/<int:pk>", history=History())
    async def order(connection: Connection, pk: int) -> int:
        number = numbers[0]
        entered.set()
        await go_on.wait()
        return number

    async def change() -> None:
        numbers[0] += 1
        await emit(str(numbers[0]))

    await change()
    async with guest() as client:
        joining = asyncio.ensure_future(client.join("orders/5"))
        await entered.wait()
        await change()
        await change()
        go_on.set()
        room = await joining
        await change()
        assert room.state == 1
        assert room.position is not None
        assert room.position.endswith(".1")
        assert [(await room.expect_event("changed")).data for _ in range(3)] == ["2", "3", "4"]


async def test_events_while_a_client_comes_back_are_sent_once() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @etp_room("orders/<int:pk>", history=History())
    async def order(connection: Connection, pk: int) -> None:
        entered.set()
        await go_on.wait()

    start = await rooms.aposition("orders/5")
    await emit("a")
    async with guest() as client:
        joining = asyncio.ensure_future(client.join("orders/5", since=start))
        await entered.wait()
        await emit("b")
        go_on.set()
        room = await joining
        await emit("c")
        assert [(await room.expect_event("changed")).data for _ in range(3)] == ["a", "b", "c"]


@pytest.mark.parametrize("is_behind", [True, False])
async def test_events_that_the_process_has_not_received_yet_are_sent_once(is_behind: bool) -> None:
    declare()
    async with guest() as client, guest() as other:
        others, start = await other.join("orders/5"), await rooms.aposition("orders/5")
        await emit("a")
        for data in ("b", "c"):  # of another process, which has not sent them yet
            await append(data)
        room = await client.join("orders/5", since=start if is_behind else _next(_next(start)))
        assert room.recovered
        assert room.position == await rooms.aposition("orders/5")
        await emit("d")
        await append("e")
        await emit("f")
        assert [(await others.expect_event()).data for _ in range(6)] == ["a", "b", "c", "d", "e", "f"]
        received = [(await room.expect_event()).data for _ in range(6 if is_behind else 4)]
        assert received == ["a", "b", "c", "d", "e", "f"][-len(received) :]


@pytest.mark.parametrize("since", ["ahead", "before"])
async def test_a_position_that_the_room_does_not_have_starts_at_that_of_the_process(since: str) -> None:
    @etp_room("orders/<int:pk>", history=History(size=1))
    async def order(connection: Connection, pk: int) -> None: ...

    async with guest() as client, guest() as other:
        before = await rooms.aposition("orders/5")
        await emit(*map(str, range(150)))
        others = await other.join("orders/5")
        await append("a")
        ahead = _next(_next(await rooms.aposition("orders/5")))
        room = await client.join("orders/5", since=ahead if since == "ahead" else before)
        assert not room.recovered
        await emit("b")
        for each in (room, others):
            if each.position == others.position:
                assert (await each.expect_event()).data == "a"
            assert (await each.expect_event()).data == "b"


async def append(data: str) -> None:
    """Append an event to the history, and do not send it."""
    event = NewEvent(group_name("default", "orders/5"), f"changed||0||{data}", History())
    await serving_hub().histories.store.append([event])


async def test_an_excluded_connection_gets_the_event_neither_now_nor_later() -> None:
    declare()
    async with guest() as client, guest() as other:
        room, others = await client.join("orders/5"), await other.join("orders/5")
        start = room.position
        await rooms.aemit("orders/5", "changed", "a", exclude=[await id_of(client)])
        await emit("b")
        assert [(await others.expect_event()).data for _ in range(2)] == ["a", "b"]
        assert (await room.expect_event()).data == "b"
        room = await client.join("orders/5", since=start)
        assert (await room.expect_event()).data == "b"


async def test_members_that_the_server_put_in_get_plain_frames() -> None:
    order = declare()

    @etp_event("enter")
    async def enter(connection: Connection, event: Event) -> None:
        await connection.ajoin(order(pk=5))

    async with guest() as client, EtpCommunicator() as plain:
        await plain.emit_with_ack("enter")
        room = await client.join("orders/5")
        await emit("a")
        assert (await room.expect_event()).data == "a"
        assert await plain.receive_frame() == "changed||0||a"
        # One that joins as well goes on with events inside the room.
        await client.emit_with_ack("enter")
        await emit("b")
        assert (await room.expect_event()).data == "b"


async def test_a_server_side_member_whose_join_is_refused_keeps_its_events() -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    @etp_room("orders/<int:pk>", history=History())
    async def order(connection: Connection, pk: int) -> None:
        entered.set()
        await go_on.wait()
        raise PermissionError

    @etp_event("enter")
    async def enter(connection: Connection, event: Event) -> None:
        await connection.ajoin("orders/5")

    async with guest() as client:
        await client.emit_with_ack("enter")
        joining = asyncio.ensure_future(refused(client, "orders/5", "handler_error"))
        await entered.wait()
        await emit("a")
        go_on.set()
        await joining
        await emit("b")
        assert await frames(client, 2) == ["changed||0||a", "changed||0||b"]


async def test_an_event_to_several_rooms_goes_to_each_with_history_by_itself() -> None:
    declare()
    async with guest() as client:
        room = await client.join("orders/5")
        other = await client.join("orders/6")
        await rooms.ajoin(await id_of(client), "lobby")
        await rooms.aemit(["orders/5", "lobby", "orders/6"], "changed", "a")
        received = sorted(await frames(client, 3))
        assert received == [
            f"__in orders/5@{_next(room.position)} changed||0||a",
            f"__in orders/6@{_next(other.position)} changed||0||a",
            "changed||0||a",
        ]


def _next(position: str | None) -> str:
    epoch, _, number = str(position).partition(".")
    return f"{epoch}.{int(number) + 1}"


@pytest.mark.django_db(transaction=True)
async def test_events_of_a_transaction_are_in_the_history_once_it_has_committed() -> None:
    from asgiref.sync import sync_to_async
    from django.db import transaction

    declare()

    def work() -> None:
        with transaction.atomic():
            rooms.emit_on_commit("orders/5", "changed", "a")
            rooms.emit_on_commit(["orders/5", "lobby"], "changed", "b")
            rooms.emit_on_commit("orders/5", "changed", "c", key=1)
            rooms.emit_on_commit("orders/5", "changed", "d", key=1)

    async with guest() as client:
        room = await client.join("orders/5")
        await rooms.ajoin(await id_of(client), "lobby")
        await sync_to_async(work)()
        received = await frames(client, 4)
        assert "changed||0||b" in received
        assert [frame.rpartition("|")[2] for frame in received if frame.startswith("__in")] == ["a", "b", "d"]
        assert len(await rooms.ahistory("orders/5")) == 3
        assert room.recovered is False


async def test_a_history_that_cannot_be_reached_refuses_emits_and_joins(settings: Any) -> None:
    settings.ETP = {
        "HISTORY": {"BACKEND": "django_etp.history.RedisHistory", "OPTIONS": {"url": "redis://127.0.0.1:1"}}
    }
    declare()
    async with guest() as client:
        failure = await refused(client, "orders/5", "handler_error")
        assert failure.retry_after == 1
        assert await rooms.anames() == []
        with pytest.raises(HistoryUnavailable, match="could not be reached"):
            await emit("a")
        with pytest.raises(HistoryUnavailable):
            await rooms.aposition("orders/5")
        await rooms.aemit("lobby", "others", "work")


@pytest.mark.parametrize("history", [True, 5, {"size": 5}])
def test_another_history_is_refused(history: Any) -> None:
    with pytest.raises(TypeError, match="takes a History"):
        etp_room("orders/<int:pk>", history=history)(lambda connection, pk: None)
