"""SIGTERM to a real server of each kind: it drains before it ends."""

import asyncio
import http.client
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.peers import connect, expect_close, receive
from tests.support.servers import COMMANDS, Server, start_process, start_server

RESTART = (1012, '{"reconnect_in": 200}')


@contextmanager
def start(kind: str) -> Iterator[Server]:
    settings = {"ETP": {"DRAIN_SECONDS": 0.2}}
    if kind == "gunicorn":
        worker = ["--worker-class", "uvicorn_worker.UvicornWorker", "--graceful-timeout", "15"]
        command = ["gunicorn", *worker, "--bind", "127.0.0.1:0", "tests.site.asgi:application"]
        ready = r"Listening at: http://127\.0\.0\.1:(\d+)"
        with start_process(kind, command, settings=settings, ready=ready) as server:
            yield server
    else:
        with start_server(kind, settings=settings) as server:
            yield server


def readiness(server: Server) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/health/ready/", headers={"Connection": "close"})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("kind", [*COMMANDS, "gunicorn"])
async def test_sigterm_lets_a_server_drain(kind: str) -> None:
    with start(kind) as server:
        peers = [await connect(server) for _ in range(4)]
        busy, *others = peers
        await busy.send("ask||7||x")
        assert await receive(busy) == "question||1||x"  # its handler runs until this is answered
        server.process.terminate()
        assert await expect_close(others[0]) == RESTART
        with pytest.raises(InvalidStatus, match="503"):
            await connect(server)
        assert await asyncio.to_thread(readiness, server) == 503
        await busy.send("__ack_question||1||y")
        assert [await receive(busy), await expect_close(busy)] == ["__ack_ask||7||got:y", RESTART]
        assert [await expect_close(other) for other in others[1:]] == [RESTART] * 2
        await asyncio.to_thread(server.wait)
        assert server.complaints == []
