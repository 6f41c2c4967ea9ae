"""Whether a quiet connection stays open."""

import asyncio
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websockets

from django_etp.doctor.findings import Finding
from django_etp.doctor.silence import check_silence
from tests.support.deployments import serve, target_at

pytestmark = pytest.mark.usefixtures("etp_registry")


async def finding_of(handle: Any, seconds: float = 5.0, **options: Any) -> Finding:
    async with serve_websockets(handle, "127.0.0.1", 0) as server:
        return await check_silence(target_at(server.sockets[0].getsockname()[1], **options), None, seconds)


async def test_a_connection_that_stays_open_is_ok() -> None:
    with serve() as port:
        finding = await check_silence(target_at(port), None, 0.1)
    assert finding.status == "ok"


async def test_a_connection_that_is_cut_names_the_timeout_and_after_how_long() -> None:
    async def cut(connection: ServerConnection) -> None:
        await asyncio.sleep(0.2)
        connection.transport.abort()

    finding = await finding_of(cut)
    assert finding.status == "failure"
    assert "it was closed after 0." in finding.came
    assert "1006" in finding.came
    assert "proxy_read_timeout 75s;" in finding.remedy
    assert finding.figures["seconds"] >= 0.2


async def test_a_connection_that_is_open_and_dead_names_the_timeout() -> None:
    async def ignore(connection: ServerConnection) -> None:
        await connection.wait_closed()

    finding = await finding_of(ignore, 0.05, timeout=0.2)
    assert finding.status == "failure"
    assert "nothing passes any more" in finding.came


async def test_a_server_that_ends_is_a_warning() -> None:
    async def restart(connection: ServerConnection) -> None:
        await connection.close(1012)

    finding = await finding_of(restart)
    assert finding.status == "warning"


async def test_a_server_that_closes_is_named() -> None:
    async def close(connection: ServerConnection) -> None:
        await connection.close(4000, "no thanks")

    finding = await finding_of(close)
    assert finding.status == "failure"
    assert "4000 no thanks" in finding.came
    assert "The server closed it" in finding.remedy


async def test_no_seconds_skip_it(unused_tcp_port: int) -> None:
    assert (await check_silence(target_at(unused_tcp_port), None, 0)).status == "skipped"


async def test_a_second_connection_that_is_refused_is_named(unused_tcp_port: int) -> None:
    finding = await check_silence(target_at(unused_tcp_port), None, 1)
    assert finding.status == "failure"
    assert finding.came.startswith("no second connection")
