"""Questions to a server, signed with its key or with another one, by clocks that agree or do not."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from django_etp.client.probe import Probe
from django_etp.doctor.asking import ask_facts, ask_to_send
from tests.support.deployments import serve, target_at
from tests.support.servers import Server

pytestmark = pytest.mark.usefixtures("etp_registry")


@asynccontextmanager
async def probe_at(port: int) -> AsyncIterator[Probe]:
    probe = await target_at(port).open(None)
    assert isinstance(probe, Probe), probe
    yield probe
    await probe.close()


@asynccontextmanager
async def probe_of(handle: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[Probe]:
    async with (
        serve_websockets(handle, "127.0.0.1", 0) as server,
        probe_at(server.sockets[0].getsockname()[1]) as probe,
    ):
        yield probe


async def test_a_server_with_the_same_key_tells_its_facts() -> None:
    with serve() as port:
        async with probe_at(port) as probe:
            interview = await ask_facts(probe, "n", time.time, 5.0)
    assert (interview.problem, interview.accepts_key, interview.skew) == ("", True, 0.0)
    assert interview.process is not None
    assert interview.connection is not None
    assert interview.hub == interview.process.hub == probe.id.partition(".")[0]
    assert interview.connection.host == f"127.0.0.1:{port}"


@pytest.mark.parametrize("server", ["uvicorn"], indirect=True)
async def test_a_server_with_another_key_does_not(server: Server) -> None:
    async with probe_at(server.port) as probe:
        interview = await ask_facts(probe, "n", time.time, 5.0)
        problem = await ask_to_send(probe, "n", [probe.id], time.time, 5.0)
    assert (interview.accepts_key, interview.process, interview.skew) == (False, None, None)
    assert interview.hub == probe.id.partition(".")[0]
    assert "unknown event" in interview.problem
    assert "does not accept the question" in problem


@pytest.mark.parametrize("ahead", [40.0, -40.0])
async def test_a_clock_that_is_off_is_measured(ahead: float) -> None:
    with serve() as port:
        async with probe_at(port) as probe:
            interview = await ask_facts(probe, "n", lambda: time.time() - ahead, 5.0)
    assert interview.skew == pytest.approx(ahead, abs=1.0)
    assert interview.process is not None


async def test_a_clock_that_is_far_off_is_measured_though_nothing_else_is_told() -> None:
    with serve() as port:
        async with probe_at(port) as probe:
            interview = await ask_facts(probe, "n", lambda: time.time() - 5000, 5.0)
    assert interview.skew == pytest.approx(5000, abs=1.0)
    assert (interview.process, interview.accepts_key, interview.problem) == (None, True, "the clocks differ too far")


async def test_a_server_that_does_not_answer_tells_nothing() -> None:
    async def ignore(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with probe_of(ignore) as probe:
        interview = await ask_facts(probe, "n", time.time, 0.05)
        problem = await ask_to_send(probe, "n", ["a.1"], time.time, 0.05)
    assert interview.accepts_key is None
    assert interview.problem
    assert problem


@pytest.mark.parametrize("data", ["", "[]", "not JSON"])
async def test_an_answer_of_another_server_counts_as_unknown(data: str) -> None:
    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(f"__ack___doctor||{str(message).split('||')[1]}||{data}")

    async with probe_of(answer) as probe:
        assert (await ask_facts(probe, "n", time.time, 5.0)).accepts_key is False


async def test_facts_of_another_version_are_not_read() -> None:
    async def answer(connection: ServerConnection) -> None:
        async for message in connection:
            number = str(message).split("||")[1]
            await connection.send(f'__ack___doctor||{number}||{{"process": {{"now": 1}}, "connection": {{}}}}')

    async with probe_of(answer) as probe:
        interview = await ask_facts(probe, "n", time.time, 5.0)
    assert "another version" in interview.problem
    assert interview.accepts_key
