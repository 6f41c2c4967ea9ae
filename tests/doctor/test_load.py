"""Many connections at a time."""

import itertools

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from django_etp import Connection, RejectConnection, on_connect
from django_etp.doctor.load import check_load, percentile
from tests.support.deployments import serve, target_at

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_what_a_server_carries_is_measured() -> None:
    with serve() as port:
        finding = await check_load(target_at(port), None, 30, rounds=2, interval=0.05)
    assert finding.status == "ok", finding
    figures = finding.figures
    assert (figures["opened"], figures["answers"], figures["unanswered"], figures["broken"]) == (30, 60, 0, 0)
    assert figures["per_second"] > 1
    times = figures["milliseconds"]
    assert 0 < times["p50"] <= times["p95"] <= times["p99"] <= times["max"] < 5000
    assert "30 connections" in finding.came
    assert "p99" in finding.came


async def test_connections_that_are_refused_are_losses() -> None:
    numbers = itertools.count()

    @on_connect
    async def refuse_half(connection: Connection) -> None:
        if next(numbers) % 2:
            raise RejectConnection("full")

    with serve() as port:
        finding = await check_load(target_at(port), None, 10, rounds=1, interval=0.01)
    assert finding.status == "failure"
    assert (finding.figures["opened"], finding.figures["answers"]) == (5, 5)
    assert "5 losses" in finding.came
    assert "5 were refused: HTTP 403" in finding.came


async def test_connections_that_break_and_pings_without_an_answer_are_losses() -> None:
    numbers = itertools.count()

    async def fail(connection: ServerConnection) -> None:
        is_silent = next(numbers) % 2
        await connection.recv()
        if is_silent:
            await connection.wait_closed()

    async with serve_websockets(fail, "127.0.0.1", 0) as server:
        target = target_at(server.sockets[0].getsockname()[1], timeout=0.3)
        finding = await check_load(target, None, 4, rounds=1, interval=0.01)
    assert (finding.figures["unanswered"], finding.figures["broken"]) == (2, 2)
    assert "2 connections broke; 2 pings were not answered in time" in finding.came


@pytest.mark.parametrize(
    ("share", "value"), [(0.5, 2.0), (0.75, 3.0), (0.76, 4.0), (0.99, 4.0), (1.0, 4.0), (0.0, 1.0)]
)
def test_a_percentile_is_one_of_the_values(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value


def test_of_nothing_a_percentile_is_0() -> None:
    assert percentile([], 0.5) == 0.0
