"""The subprotocol, compression, and messages there and back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from django_etp.client.probe import Probe
from django_etp.doctor.exchange import check_compression, check_round_trip, check_subprotocol
from tests.support.deployments import serve, target_at
from tests.support.proxy import start_proxy

pytestmark = pytest.mark.usefixtures("etp_registry")


@asynccontextmanager
async def probe_at(port: int, *, timeout: float = 5.0) -> AsyncIterator[Probe]:
    probe = await target_at(port, timeout=timeout).open(f"http://127.0.0.1:{port}")
    assert isinstance(probe, Probe), probe
    yield probe
    await probe.close()


@asynccontextmanager
async def probe_of(handle: Any) -> AsyncIterator[Probe]:
    async with (
        serve_websockets(handle, "127.0.0.1", 0) as server,
        probe_at(server.sockets[0].getsockname()[1]) as probe,
    ):
        yield probe


async def ignore(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


async def test_a_healthy_connection_is_ok() -> None:
    with serve() as port:
        async with probe_at(port) as probe:
            findings = [
                check_subprotocol(probe),
                check_compression(probe),
                await check_round_trip(target_at(1, timeout=5.0), probe),
            ]
    assert [finding.status for finding in findings] == ["ok"] * 3
    assert findings[2].figures["seconds"] < 1


async def test_a_subprotocol_that_is_lost_is_named() -> None:
    async with probe_of(ignore) as probe:
        finding = check_subprotocol(probe)
    assert (finding.status, finding.came) == ("failure", "it selected none")
    assert "Sec-WebSocket-Protocol" in finding.remedy


async def test_compression_that_costs_memory_is_named() -> None:
    with serve(ws="websockets-sansio") as port:
        async with probe_at(port) as probe:
            finding = check_compression(probe)
    assert finding.status == "warning"
    assert "compression is on: permessage-deflate" in finding.came
    assert "--ws django_etp.uvicorn:Protocol" in finding.remedy


async def test_a_proxy_that_buffers_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_etp.doctor.exchange._FLOOD", 400)
    with serve() as port, start_proxy(port) as proxy:
        proxy.buffer = 2048
        async with probe_at(proxy.port, timeout=0.2) as probe:
            finding = await check_round_trip(target_at(1, timeout=0.5), probe)
            proxy.cut()
    assert finding.status == "failure"
    assert "A proxy buffers" in finding.remedy


async def test_a_way_that_brings_nothing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_etp.doctor.exchange._FLOOD", 10)
    async with probe_of(ignore) as probe:
        finding = await check_round_trip(target_at(1, timeout=0.1), probe)
    assert finding.status == "failure"
    assert "no answer to any ping within 0.1 s" in finding.came
    assert "A proxy buffers" not in finding.remedy


async def test_a_slow_way_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_etp.doctor.exchange._SLOW", 0.02)

    async def answer_late(connection: ServerConnection) -> None:
        async for message in connection:
            await asyncio.sleep(0.03)
            name, number = str(message).split("||")
            await connection.send(f"__ack_{name}||{number}")

    async with probe_of(answer_late) as probe:
        finding = await check_round_trip(target_at(1, timeout=5.0), probe)
    assert finding.status == "warning"


@pytest.mark.parametrize(("code", "remedy"), [(1011, "closes the connection"), (4403, "--user"), (4401, "--token")])
async def test_a_connection_that_is_accepted_and_closed_is_named(code: int, remedy: str) -> None:
    async def end(connection: ServerConnection) -> None:
        await connection.close(code, "why")

    async with probe_of(end) as probe:
        finding = await check_round_trip(target_at(1, timeout=5.0), probe)
    assert finding.status == "failure"
    assert f"then closed with {code} why" in finding.came
    assert remedy in finding.remedy


async def test_a_login_that_is_refused_does_not_ask_for_one() -> None:
    async def end(connection: ServerConnection) -> None:
        await connection.close(4403)

    async with probe_of(end) as probe:
        finding = await check_round_trip(target_at(1, is_given_login=True), probe)
    assert "another SECRET_KEY" in finding.remedy
    assert "--user" not in finding.remedy
