"""Pings, and clients that answer none."""

import asyncio
from collections.abc import Iterator

import pytest

from django_etp.uvicorn.keepalive import Keepalive
from tests.support.frames import frames_of


class Client:
    """Counts pings, and whether it was lost; may stop them after the first one."""

    def __init__(self, interval: float | None, timeout: float | None, *, is_stopping: bool = False) -> None:
        self.is_stopping = is_stopping
        self.pings: list[bytes] = []
        self.lost = 0
        self.keepalive = Keepalive(self.take, self.lose, interval, timeout)
        self.keepalive.start()

    def take(self, frame: bytes) -> None:
        ((first, payload),) = frames_of(frame)
        assert first == 0x89
        self.pings.append(payload)
        if self.is_stopping:  # in the next turn, before a timer that this one starts
            asyncio.get_running_loop().call_soon(self.keepalive.stop)

    def lose(self) -> None:
        self.lost += 1

    async def pinged(self, times: int) -> None:
        async with asyncio.timeout(10):
            while len(self.pings) < times and not self.lost:  # noqa: ASYNC110  # a condition of the test
                await asyncio.sleep(0.001)


@pytest.fixture
def clients() -> Iterator[list[Client]]:
    made: list[Client] = []
    yield made
    for client in made:
        client.keepalive.stop()


async def test_a_client_that_answers_is_pinged_again(clients: list[Client]) -> None:
    clients.append(client := Client(0.001, 60))
    for times in range(1, 4):
        await client.pinged(times)
        client.keepalive.pong(client.pings[-1])
    assert len(set(client.pings)) == 3
    assert not client.lost


async def test_a_client_that_does_not_is_lost(clients: list[Client]) -> None:
    clients.append(client := Client(0.001, 0.001))
    await client.pinged(1)
    client.keepalive.pong(b"another")
    client.keepalive.pong(b"")
    await client.pinged(2)
    assert len(client.pings) == client.lost == 1


async def test_without_a_timeout_no_client_is_lost(clients: list[Client]) -> None:
    clients.append(client := Client(0.001, None))
    await client.pinged(3)
    client.keepalive.pong(client.pings[-1])
    await client.pinged(5)
    assert not client.lost


@pytest.mark.parametrize("interval", [None, 0])
async def test_without_an_interval_there_are_no_pings(clients: list[Client], interval: float | None) -> None:
    clients.append(client := Client(interval, 0.001))
    await asyncio.sleep(0.01)
    assert client.pings == []


async def test_after_the_stop_nothing_happens(clients: list[Client]) -> None:
    clients.append(client := Client(0.001, 0.001, is_stopping=True))
    await client.pinged(1)
    client.keepalive.pong(client.pings[0])
    await asyncio.sleep(0.01)
    assert (len(client.pings), client.lost) == (1, 0)
