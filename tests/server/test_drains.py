"""SIGTERM to a real server of each kind: it drains before it ends."""

import asyncio
import http.client

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.peers import connect, expect_close, receive
from tests.support.servers import COMMANDS, SUPERVISORS, Server, start_server

RESTART = (1012, '{"reconnect_in": 200}')


def readiness(server: Server) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/health/ready/", headers={"Connection": "close"})
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("kind", [*COMMANDS, *SUPERVISORS])
async def test_sigterm_lets_a_server_drain(kind: str) -> None:
    with start_server(kind, settings={"ETP": {"DRAIN_SECONDS": 0.2}}) as server:
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
