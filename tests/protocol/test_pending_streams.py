"""Streamed answers that a connection waits for. For the clients that use them see tests/client and tests/testing."""

import asyncio
from contextlib import aclosing

import pytest

from django_etp.exceptions import AckTimeout, EventFailed
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.frames import Event
from django_etp.protocol.pending_streams import PendingStreams


class Connection:
    """One end of a connection, which keeps what it sends."""

    def __init__(self, *, can_stop: bool = True) -> None:
        self.acks = PendingAcks()
        self.sent: list[str] = []
        self.streams = PendingStreams(self.acks, asyncio.Event(), self.send, can_stop=can_stop)

    async def send(self, frame: str) -> None:
        self.sent.append(frame)

    async def read(self, seen: list[str]) -> None:
        async with aclosing(self.streams.read("ask", "", 3.0)) as parts:
            async for part in parts:
                seen.append(part.data)


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_parts_reach_their_loop_in_order() -> None:
    connection, seen, other = Connection(), list[str](), list[str]()
    loops = asyncio.ensure_future(connection.read(seen)), asyncio.ensure_future(connection.read(other))
    await turns()
    assert connection.sent == ["ask||1", "ask||2"]
    assert connection.streams.reads(1)
    assert not connection.streams.reads(3)
    for number in range(5):
        await connection.streams.put(Event("__part_ask", 1, str(number)))
    await connection.streams.put(Event("__part_ask", 2, "other"))
    for ack_id in (1, 2):
        connection.acks.settle(Event("__ack_ask", ack_id))
    await asyncio.gather(*loops)
    assert (seen, other) == (["0", "1", "2", "3", "4"], ["other"])
    assert not connection.streams.reads(1)
    assert connection.sent == ["ask||1", "ask||2"]


async def test_a_full_stream_holds_up_whoever_brings_parts() -> None:
    connection = Connection()
    async with aclosing(connection.streams.read("ask", "", 3.0)) as parts:
        first = asyncio.ensure_future(anext(parts))
        await turns()
        await connection.streams.put(Event("__part_ask", 1, "first"))
        await first
        for _ in range(100):
            await connection.streams.put(Event("__part_ask", 1, "more"))
        putting = asyncio.ensure_future(connection.streams.put(Event("__part_ask", 1, "too much")))
        await turns()
        assert not putting.done()
        await anext(parts)
        await turns()
        assert putting.done()


@pytest.mark.parametrize(("can_stop", "stops"), [(True, ["__stop_ask||1"]), (False, [])])
async def test_a_late_part_ends_the_stream(can_stop: bool, stops: list[str]) -> None:
    connection = Connection(can_stop=can_stop)
    with pytest.raises(AckTimeout, match="No further part"):
        async for _ in connection.streams.read("ask", "", 0.01):
            pass
    assert connection.sent[1:] == stops
    await connection.streams.put(Event("__part_ask", 1, "dropped"))


async def test_a_failure_is_raised_behind_the_parts() -> None:
    connection, seen = Connection(), list[str]()
    reading = asyncio.ensure_future(connection.read(seen))
    await turns()
    await connection.streams.put(Event("__part_ask", 1, "one"))
    connection.acks.settle(Event("__err_ask", 1, '{"code":"busy"}'))
    with pytest.raises(EventFailed):
        await reading
    assert seen == ["one"]


@pytest.mark.parametrize("is_left", [False, True])
async def test_the_end_of_a_room_ends_its_streams_alone(is_left: bool) -> None:
    connection = Connection()
    loops = [connection.streams.read(f"__in {room} ask", "", 3.0) for room in ("a", "a", "ab")]
    firsts = [asyncio.ensure_future(anext(loop)) for loop in loops]
    await turns()
    for ack_id in (1, 1, 2, 3, 3):
        await connection.streams.put(Event("__part_", ack_id, "part"))
    await asyncio.gather(*firsts)
    connection.streams.end_room("a", "removed", "Gone.", is_left=is_left)
    if is_left:
        await connection.streams.put(Event("__part_", 2, "late"))
    else:
        assert (await anext(loops[0])).data == "part"
    failures = await asyncio.gather(*(anext(loop) for loop in loops[:2]), return_exceptions=True)
    assert [failure.code for failure in failures if isinstance(failure, EventFailed)] == ["removed", "removed"]
    assert failures[0] is not failures[1]
    assert (await anext(loops[2])).data == "part"
    assert connection.sent[3:] == (["__stop___in a ask||1", "__stop___in a ask||2"] if is_left else [])
    await loops[2].aclose()


async def test_an_answer_that_has_ended_is_not_stopped_if_the_room_is_left() -> None:
    connection = Connection()
    loop = connection.streams.read("__in a ask", "", 3.0)
    first = asyncio.ensure_future(anext(loop))
    await turns()
    for _ in range(2):
        await connection.streams.put(Event("__part_", 1, "part"))
    connection.acks.settle(Event("__ack_", 1))
    await first
    connection.streams.end_room("a", "left", "Left.", is_left=True)
    with pytest.raises(EventFailed, match="left"):
        await anext(loop)
    assert connection.sent == ["__in a ask||1"]
