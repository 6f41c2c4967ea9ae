"""One event loop that serves connections: the first, the last, and the end of the server."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from django_etp import Connection, on_connect, on_disconnect
from django_etp.hub.process import serving_hub
from django_etp.server import serving
from django_etp.server.serving import current_serving
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


class Maintenance:
    """Counts the maintenance that runs."""

    def __init__(self) -> None:
        self.begun = self.running = 0

    async def __call__(self, hub: Any) -> None:
        self.begun += 1
        self.running += 1
        try:
            await asyncio.Event().wait()
        finally:
            self.running -= 1


@pytest.fixture
def maintenance(monkeypatch: pytest.MonkeyPatch) -> Iterator[Maintenance]:
    """The maintenance, which does nothing but count itself."""
    counted = Maintenance()
    monkeypatch.setattr(serving, "maintain", counted)
    yield counted
    assert counted.running == 0


async def test_the_maintenance_runs_once_while_there_are_connections(maintenance: Maintenance) -> None:
    async with Wire():
        async with Wire():
            await asyncio.sleep(0)
            assert (maintenance.begun, maintenance.running) == (1, 1)
        assert maintenance.running == 1
    await until(lambda: maintenance.running == 0)
    async with Wire():
        await asyncio.sleep(0)
        assert (maintenance.begun, maintenance.running) == (2, 1)
    await until(lambda: maintenance.running == 0)


async def test_a_loop_has_one_hub_and_one_that_serves_it() -> None:
    assert current_serving() is current_serving()
    assert current_serving().hub is serving_hub()
    assert serving_hub().serving is current_serving()


async def test_a_hub_that_stops_ends_its_connections() -> None:
    ended: list[int] = []

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        ended.append(disconnect.code)

    wires = [await Wire().open() for _ in range(3)]
    await serving_hub().stop()
    assert ended == [1001] * 3
    await asyncio.wait([wire.task for wire in wires], timeout=1)
    assert all(wire.task.done() for wire in wires)


async def test_a_hub_that_stops_waits_for_no_connection_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "_END_LIMIT", 0.05)
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @on_connect
    async def hold_on(connection: Connection) -> None:
        begun.set()
        await goes_on.wait()

    wire = Wire().start()
    await begun.wait()
    async with asyncio.timeout(5):
        await current_serving().stop()
    goes_on.set()
    await asyncio.wait([wire.task])


async def test_a_connection_that_comes_while_the_server_seems_to_end_is_served() -> None:
    first = await Wire().open()
    current_serving().expect_end()
    async with Wire() as second:
        await first.leave()
        second.put("__ping||1")
        assert await second.text() == "__ack___ping||1"


async def test_cancelled_connections_wait_for_each_others_cleanup() -> None:
    doors, ended = {}, []

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        door = doors[connection.scope["path"]] = asyncio.Event()
        await door.wait()
        ended.append(connection)

    first, second = await Wire(path="/first/").open(), await Wire(path="/second/").open()
    for wire in (first, second):
        wire.task.cancel()
    await until(lambda: len(doors) == 2)
    doors["/first/"].set()
    await until(lambda: len(ended) == 1)
    await asyncio.sleep(0)
    assert not first.task.done()
    doors["/second/"].set()
    await asyncio.wait([first.task, second.task])
    assert len(ended) == 2
