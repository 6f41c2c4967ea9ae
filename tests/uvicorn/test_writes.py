"""Connections that are written at the end of a turn."""

import asyncio

from django_etp.uvicorn.writes import Writes


class Connection:
    def __init__(self, then: "list[Connection] | None" = None) -> None:
        self.flushed = 0
        self.then = then or []

    def flush(self) -> None:
        self.flushed += 1
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


async def test_a_loop_has_one_object() -> None:
    loop = asyncio.get_running_loop()
    assert Writes.of(loop) is Writes.of(loop)
    other = asyncio.new_event_loop()
    try:
        assert Writes.of(other) is not Writes.of(loop)
    finally:
        other.close()
