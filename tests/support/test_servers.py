"""Test the server harness itself, with an application without a framework."""

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.peers import RawPeer, connect, expect_close, expect_nothing, receive
from tests.support.servers import COMMANDS, ServerError, start_server

BARE = "tests.support.bare:application"

KINDS = pytest.mark.parametrize("kind", COMMANDS)


@KINDS
async def test_server_answers_http_and_websocket_once_started(kind):
    with start_server(kind, BARE) as server:
        assert server.get_json("/here/") == {"path": "/here/"}
        async with connect(server) as peer:
            await peer.send("hello")
            assert await receive(peer) == "hello"
            await expect_nothing(peer)
    assert not server.is_running


@KINDS
def test_server_that_cannot_start_raises_with_its_log(kind):
    with (
        pytest.raises(ServerError, match=r"tests\.nowhere"),
        start_server(kind, "tests.nowhere:application"),
    ):
        pytest.fail("started")


def test_servers_run_side_by_side():
    with start_server("daphne", BARE) as one, start_server("uvicorn", BARE) as other:
        assert one.port != other.port
        assert one.get_json("/1") == {"path": "/1"}
        assert other.get_json("/2") == {"path": "/2"}


def test_server_is_ended_when_the_block_raises():
    with pytest.raises(ZeroDivisionError), start_server("uvicorn", BARE) as server:
        _ = 1 / 0
    assert not server.is_running


@KINDS
async def test_killed_server_drops_its_peers_without_a_close_frame(kind):
    with start_server(kind, BARE) as server:
        peer = await connect(server)
        server.kill()
        assert await expect_close(peer) == (1006, "")


@KINDS
async def test_paused_server_answers_once_resumed(kind):
    with start_server(kind, BARE) as server:
        async with connect(server) as peer:
            server.pause()
            await peer.send("hello")
            await expect_nothing(peer)
            server.resume()
            assert await receive(peer) == "hello"


def test_paused_server_is_ended_all_the_same():
    with start_server("uvicorn", BARE) as server:
        server.pause()
    assert not server.is_running


@KINDS
async def test_raw_peer_speaks_websocket(kind):
    with start_server(kind, BARE) as server:
        peer = await RawPeer.connect(server)
        await peer.send(b"hello")
        assert await peer.receive_text() == "hello"
        await peer.reset()


@KINDS
async def test_raw_peer_in_half_a_handshake_is_told_nothing(kind):
    with start_server(kind, BARE) as server:
        peer = await RawPeer.open(server)
        await peer.send_bytes(peer.handshake()[:-4])
        await peer.close()
        assert server.get_json("/") == {"path": "/"}


async def test_refused_raw_peer_raises(tmp_path):
    with start_server("uvicorn", BARE, options=["--ws", "none"]) as server, pytest.raises(InvalidStatus):
        await RawPeer.connect(server)
