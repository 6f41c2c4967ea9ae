"""The histories of rooms in the rooms API: positions, and scrolling back."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_etp import Connection, History, InvalidRoomName, SyncCallInEventLoop, etp_room, rooms
from django_etp.rooms import PastEvent
from django_etp.testing import EtpCommunicator
from tests.support.rooms import clients


@pytest.fixture(autouse=True)
def _rooms(etp_registry: Any) -> None:
    @etp_room("orders/<int:pk>", history=History(size=20))
    async def order(connection: Connection, pk: int) -> None: ...

    @etp_room("teams/<int:pk>")
    async def team(connection: Connection, pk: int) -> None: ...


async def test_a_history_is_read_page_by_page() -> None:
    async with EtpCommunicator():
        before = datetime.now(UTC) - timedelta(seconds=1)
        assert await rooms.ahistory("orders/1") == []
        await rooms.aemit("orders/1", "changed", {"a": "ü||"})
        await rooms.aemit("orders/1", "nothing")
        for number in range(5):
            await rooms.aemit("orders/1", "text", str(number))
        past = await rooms.ahistory("orders/1")
        assert [(each.event, each.data) for each in past][:3] == [
            ("changed", '{"a":"ü||"}'),
            ("nothing", ""),
            ("text", "0"),
        ]
        assert past[0].json() == {"a": "ü||"}
        assert all(before < each.at < datetime.now(UTC) + timedelta(seconds=1) for each in past)
        assert past[-1].position == await rooms.aposition("orders/1")
        assert await rooms.ahistory("orders/1", limit=2) == past[-2:]
        assert await rooms.ahistory("orders/1", limit=3, before=past[-2].position) == past[-5:-2]
        assert await rooms.ahistory("orders/1", before=past[0].position) == []
        assert await rooms.ahistory("orders/1", before="nonsense") == []
        assert await rooms.ahistory("orders/2") == []


def test_both_work_in_a_process_that_serves_no_connection_yet() -> None:
    position = rooms.position("orders/3")
    assert rooms.position("orders/3") == position
    rooms.emit("orders/3", "changed", "a")
    assert [each.data for each in rooms.history("orders/3")] == ["a"]
    assert rooms.position("orders/3") == rooms.history("orders/3")[0].position != position


async def test_a_thread_reads_them_as_well() -> None:
    read: list[Any] = []

    def work() -> None:
        rooms.emit("orders/4", "changed", "a")
        read.append((rooms.position("orders/4"), rooms.history("orders/4", limit=1)))

    async with clients("") as (_,):
        thread = threading.Thread(target=work)
        thread.start()
        import asyncio

        await asyncio.to_thread(thread.join)
        [(position, [past])] = read
        assert isinstance(past, PastEvent)
        assert past.position == position


@pytest.mark.parametrize("room", ["teams/1", "lobby", "orders/x", ""])
async def test_a_room_without_history_has_neither(room: str) -> None:
    async with EtpCommunicator():
        with pytest.raises(InvalidRoomName, match="has no history"):
            await rooms.aposition(room)
        with pytest.raises(InvalidRoomName, match="has no history"):
            await rooms.ahistory(room)
    with pytest.raises(InvalidRoomName, match="has no history"):
        await rooms.of("other").aposition("orders/1")


@pytest.mark.parametrize("limit", [0, -1, 1.5, None, "5", True])
async def test_a_limit_is_a_number_of_events(limit: Any) -> None:
    with pytest.raises(ValueError, match="limit="):
        await rooms.ahistory("orders/1", limit=limit)


async def test_the_synchronous_twins_are_refused_on_an_event_loop() -> None:
    for call in (rooms.position, rooms.history):
        with pytest.raises(SyncCallInEventLoop):
            call("orders/1")
