"""Connections that are written at the end of a turn."""

import asyncio

from django_etp.uvicorn.writes import Writes


class Connection:
    def __init__(self, then: "list[Connection] | None" = None) -> None:
        self.flushed = 0
        self.frames: list[bytes] = []
        self.then = then or []

    def flush(self) -> None:
        self.flushed += 1
        self.frames.clear()
        for connection in self.then:
            Writes.of(asyncio.get_running_loop()).add(connection)


async def test_each_connection_is_flushed_after_the_callbacks_that_are_ready() -> None:
    writes = Writes.of(asyncio.get_running_loop())
    connections = [Connection(), Connection()]
    for connection in connections:
        writes.add(connection)
    assert [each.flushed for each in connections] == [0, 0]
    await asyncio.sleep(0)
    assert [each.flushed for each in connections] == [1, 1]
    await asyncio.sleep(0)
    assert [each.flushed for each in connections] == [1, 1]


async def test_what_is_added_meanwhile_waits_for_the_next_turn() -> None:
    later = Connection()
    Writes.of(asyncio.get_running_loop()).add(Connection(then=[later]))
    await asyncio.sleep(0)
    assert later.flushed == 0
    await asyncio.sleep(0)
    assert later.flushed == 1


def read(*connections: Connection) -> list[int]:
    """Read connections in one turn, each of which answers; return how often each was flushed meanwhile."""
    writes, flushed = Writes.of(asyncio.get_running_loop()), [each.flushed for each in connections]
    for connection in connections:
        writes.reading = connection
        connection.frames.append(b"answer")
        writes.end_read(connection)
    return [each.flushed - before for each, before in zip(connections, flushed, strict=True)]


async def test_a_connection_that_is_read_alone_is_flushed_at_once() -> None:
    one, other = Connection(), Connection()
    assert read(one) == [0]  # how many are read in this turn is not known yet
    await asyncio.sleep(0)
    assert read(one) == [1]
    await asyncio.sleep(0)
    assert read(other) == [1]
    assert read(one) == [0]
    await asyncio.sleep(0)
    assert (one.flushed, other.flushed) == (3, 1)
    assert read(one, other) == [0, 0]  # two were read in the last turn
    await asyncio.sleep(0)
    assert (one.flushed, other.flushed) == (4, 2)


async def test_what_a_read_has_made_ready_is_flushed_in_the_same_turn() -> None:
    writes, connection = Writes.of(asyncio.get_running_loop()), Connection()

    def answer() -> None:
        connection.frames.append(b"answer")
        writes.add(connection)

    asyncio.get_running_loop().call_soon(answer)
    writes.reading = connection
    writes.end_read(connection)
    await asyncio.sleep(0)
    assert connection.flushed == 1


async def test_a_loop_has_one_object() -> None:
    loop = asyncio.get_running_loop()
    assert Writes.of(loop) is Writes.of(loop)
    other = asyncio.new_event_loop()
    try:
        assert Writes.of(other) is not Writes.of(loop)
    finally:
        other.close()
