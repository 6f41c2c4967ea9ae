"""Peers that break the rules of ETP or of WebSocket, on real servers. What they leave: `strain/test_leaks.py`."""

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode

from tests.support.peers import RawPeer, connect, eventually, expect_close, receive, recorded
from tests.support.servers import raised_limits, start_server

LIMIT = 1_048_576

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "wire-vectors.json").read_text())
MALFORMED = [vector["wire"] for vector in VECTORS["decode"] if "error" in vector] + [
    "hello|0|x",
    "hello||٣||x",
    "hello||+||x",
    "hello||++1||x",
    "hello||1\n||x",
    "hello||-9223372036854775809||x",
    "hello||" + "9" * 5000,
    "\0",
]


@pytest.fixture
def name():
    """A name for the peer: the server keeps a record of what its hooks were told about it."""
    return uuid4().hex


async def sockets(server):
    """Return the number of open sockets of a server's process."""

    def count():
        found = 0
        for file in Path(f"/proc/{server.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed just now
                found += str(file.readlink()).startswith("socket:")
        return found

    return await asyncio.to_thread(count)


async def objects(server):
    """Count the objects of django_etp that live in the server process, by class."""
    return Counter((await asyncio.to_thread(server.get_json, "/process/"))["objects"])


async def assert_still_answers(peer):
    await peer.send("hello||4711||")
    assert await receive(peer) == "__ack_hello||4711||hello handled"


@pytest.mark.parametrize(
    "origin",
    [
        b"null",
        b"evil.example",
        b"http://",
        b"http://[::1",
        b"http://127.0.0.1:99999",
        b"http://127.0.0.1@evil.example",
        b"http://127.0.0.1\xff",
        b"http://evil.example\r\nOrigin: http://127.0.0.1",
        b"file:///etc/passwd",
        b"x" * 4000,
    ],
)
async def test_handshake_of_a_strange_origin_is_refused_and_no_error(server, name, origin):
    async with await RawPeer.open(server) as peer:
        request = peer.handshake(f"/ws/?{name}", origin="http://origin.example")
        await peer.send_bytes(request.replace(b"http://origin.example", origin))
        with pytest.raises(InvalidStatus) as refused:
            await peer.receive_response()
    assert refused.value.response.status_code in {400, 403}  # 400 where the server refuses it first
    assert await recorded(server, name)() == []


@pytest.mark.parametrize("frame", MALFORMED, ids=lambda frame: repr(frame)[:40])
@pytest.mark.parametrize("as_bytes", [False, True], ids=["text", "binary"])
async def test_malformed_frame_is_reported_and_the_connection_stays_open(server, name, frame, as_bytes):
    async with connect(server, f"/ws/?{name}") as peer:
        await peer.send(frame.encode() if as_bytes else frame)
        await assert_still_answers(peer)
        assert await eventually(recorded(server, name), bool) == [["error", "InvalidFrame"]]


@pytest.mark.parametrize("message", [b"\xff", b"hello||1||\xff", b"hel\xc0\xaflo||1||x", b"hello||1||\xed\xa0\x80"])
async def test_binary_message_that_is_not_utf8_is_a_malformed_frame(server, name, message):
    async with connect(server, f"/ws/?{name}") as peer:
        await peer.send(message)
        await assert_still_answers(peer)
        assert await eventually(recorded(server, name), bool) == [["error", "InvalidFrame"]]


@pytest.mark.parametrize("message", [b"\xff", b"hello||1||\xff", b"hello||1||\xed\xa0\x80"])
async def test_text_message_that_is_not_utf8_ends_the_connection(server, name, message):
    async with connect(server) as bystander:
        async with await RawPeer.connect(server, f"/ws/?{name}") as peer:
            await peer.send(message)
            if server.is_daphne:  # autobahn drops the TCP connection
                with pytest.raises((EOFError, ConnectionResetError)):
                    await peer.receive()
            else:
                close = await peer.receive()
                assert (close.opcode, close.data[:2]) == (Opcode.CLOSE, (1007).to_bytes(2, "big"))
        await assert_still_answers(bystander)
    seen = await eventually(recorded(server, name), bool)
    assert [kind for kind, _ in seen] == ["disconnect"]


async def test_binary_message_is_answered_as_text(server):
    async with connect(server) as peer:
        await peer.send("echo||1||é".encode())
        assert await receive(peer) == "__ack_echo||1||é"


async def test_message_of_exactly_the_limit_in_fragments_is_handled(server):
    head = b"echo||1||"
    async with connect(server) as peer:
        await peer.send([head, b"x" * (LIMIT // 2), b"x" * (LIMIT - LIMIT // 2 - len(head))])
        assert len(await receive(peer)) == LIMIT + len("__ack_")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("echo||1||" + "x" * (LIMIT - 8), id="text"),
        pytest.param(b"echo||1||" + b"x" * (LIMIT - 8), id="binary"),
        pytest.param("echo||1||x" + "é" * ((LIMIT - 8) // 2), id="few characters of many bytes"),
        pytest.param(["echo||1||"] + ["x" * 65_536] * 15 + ["x" * 65_528], id="fragments"),
        pytest.param("x" * (LIMIT + 1), id="malformed too"),
    ],
)
async def test_message_one_byte_past_the_limit_closes_with_1009(server, name, message):
    async with connect(server, f"/ws/?{name}") as peer:
        await peer.send(message)
        code, _ = await expect_close(peer)
        assert code == server.close_code(1009)
    assert await eventually(recorded(server, name), lambda record: len(record) >= 2) == [
        ["error", "MessageTooLarge"],
        ["disconnect", 1009],
    ]


async def test_message_that_is_small_only_while_compressed_closes_with_1009():
    with start_server("uvicorn") as server:  # daphne agrees on no compression
        async with connect(server, compression="deflate") as peer:
            await peer.send("echo||1||" + "x" * LIMIT)
            assert await expect_close(peer) == (1009, f"read limited at {LIMIT + 1} bytes")
        async with connect(server, compression="deflate") as peer:
            await peer.send("echo||1||" + "x" * LIMIT * 4)
            code, reason = await expect_close(peer)
            assert code == 1009
            assert not reason.startswith("read limited")  # the server has refused it before it unpacked it


async def test_message_past_the_own_limit_of_daphne_is_a_lost_connection(name):
    with start_server("daphne") as server:
        async with await RawPeer.connect(server, f"/ws/?{name}") as peer:
            await peer.send(b"x" * (LIMIT + 1))
            with pytest.raises((EOFError, ConnectionResetError)):
                await peer.receive()
        assert await eventually(recorded(server, name), bool) == [["disconnect", 1006]]


async def test_flood_past_what_may_wait_closes_with_1008(server, name):
    async with connect(server, f"/ws/?{name}") as peer, connect(server) as bystander:
        for _ in range(3000):  # 100 of them run at a time, each 300 ms: the queue of 1,000 fills up
            await peer.send("slow||0||")
        code, _ = await expect_close(peer)
        assert code == server.close_code(1008)
        await assert_still_answers(bystander)
    assert await eventually(recorded(server, name), lambda record: len(record) >= 2) == [
        ["error", "TooManyEvents"],
        ["disconnect", 1008],
    ]


@pytest.mark.parametrize("stray", ["__ack_||1", "__ack_question||-1||x", "__ack_question||0||x"])
async def test_answer_that_nobody_waits_for_is_dropped_in_silence(server, name, stray):
    async with connect(server, f"/ws/?{name}") as peer:
        await peer.send(stray)
        await assert_still_answers(peer)
        assert await recorded(server, name)() == []


async def test_second_answer_to_one_question_is_dropped(server, name):
    async with connect(server, f"/ws/?{name}") as peer:
        await peer.send("ask||1||x")
        assert await receive(peer) == "question||1||x"
        await peer.send("__ack_question||1||first")
        await peer.send("__ack_question||1||second")
        assert await receive(peer) == "__ack_ask||1||got:first"
        await peer.send("ask||2||y")
        assert await receive(peer) == "question||2||y"
        await peer.send("__ack_question||2||third")
        assert await receive(peer) == "__ack_ask||2||got:third"
        assert await recorded(server, name)() == []


async def test_answer_after_the_timeout_is_dropped_and_answers_no_later_question(server, name):
    async with connect(server, f"/ws/?{name}") as peer:
        await peer.send("ask||1||x")
        assert await receive(peer) == "question||1||x"
        assert await receive(peer) == "__ack_ask||1||err:failed to wait ack: context deadline exceeded"
        await peer.send("ask||2||y")
        assert await receive(peer) == "question||2||y"
        await peer.send("__ack_question||1||late")
        await peer.send("__ack_question||2||in time")
        assert await receive(peer) == "__ack_ask||2||got:in time"
        assert await recorded(server, name)() == []


async def test_answer_is_matched_by_its_number_alone(server):
    async with connect(server) as peer:
        await peer.send("ask||1||x")
        assert await receive(peer) == "question||1||x"
        await peer.send("__ack_some other name||1||x")
        assert await receive(peer) == "__ack_ask||1||got:x"


async def vanish(peer):
    await peer.reset()


async def leave(peer):
    await peer.close()


async def say_goodbye(peer):
    await peer.send((1000).to_bytes(2, "big"), Opcode.CLOSE)
    assert (await peer.receive()).opcode is Opcode.CLOSE


GO = pytest.mark.parametrize("go", [vanish, leave, say_goodbye], ids=lambda go: go.__name__)


@GO
async def test_peer_that_goes_in_a_handler_does_not_stop_it(server, name, go):
    async with await RawPeer.connect(server, f"/misbehaving/?{name}") as peer:
        await peer.send(b"linger||0||")
        await peer.send(b"nosuch||1||")
        assert await peer.receive_text() == "__ack_nosuch||1"  # so the handler before it runs
        await go(peer)
    seen = await eventually(recorded(server, name), lambda record: len(record) >= 3)
    assert sorted(kind for kind, _ in seen) == ["connect", "disconnect", "lingered"]


@GO
async def test_peer_that_goes_while_asked_ends_the_wait_for_its_answer_at_once(server, name, go):
    async with await RawPeer.connect(server, f"/misbehaving/?{name}") as peer:
        await peer.send(b"hang||1||")
        assert await peer.receive_text() == "question||1"
        await go(peer)
    # Long before DISCONNECT_GRACE, which is 8 s.
    seen = await eventually(recorded(server, name), lambda record: len(record) >= 3, timeout=5)
    assert sorted(kind for kind, _ in seen) == ["asked", "connect", "disconnect"]


async def test_client_may_try_again_after_a_failed_on_connect(server, name):
    name = f"{name}-raise"
    if server.kind == "daphne":  # it can send no status but 403
        async with connect(server, f"/misbehaving/?{name}", subprotocols=["etp.ext.v1"]) as peer:
            assert (await expect_close(peer))[0] == 4013
    else:
        with pytest.raises(InvalidStatus, match="503"):
            await connect(server, f"/misbehaving/?{name}")
    seen = await eventually(recorded(server, name), lambda record: len(record) >= 2)
    assert seen == [["connect", True], ["error", "RuntimeError"]]


@pytest.mark.parametrize("go", [vanish, leave], ids=lambda go: go.__name__)
async def test_peer_that_goes_while_on_connect_runs_is_forgotten_without_on_disconnect(server, name, go):
    name = f"wait-long-{name}"  # on a busy machine the peer is not gone at once
    async with connect(server, "/misbehaving/"):
        before = await objects(server)
        async with await RawPeer.open(server) as peer:
            await peer.send_bytes(peer.handshake(f"/misbehaving/?{name}"))
            assert await eventually(recorded(server, name), bool) == [["connect", True]]
            await go(peer)
        await eventually(partial(objects, server), lambda now: now <= before)
    assert await recorded(server, name)() == [["connect", True]]


async def test_peer_that_never_reads_holds_up_no_other(server):
    async with await RawPeer.connect(server) as deaf, connect(server) as peer:
        deaf.stop_reading()
        for _ in range(64):  # 32 MiB of answers, more than the socket buffers of both sides hold
            await deaf.send(b"echo||1||" + b"x" * 524_288)
        await assert_still_answers(peer)
        await peer.send("broadcast||0||fresh")
        assert await receive(peer) == "news||0||fresh"


async def test_peer_that_never_reads_is_closed_with_1013_and_forgotten(name):
    # daphne buffers without a bound, and its send never waits.
    with start_server("uvicorn", settings={"ETP": {"SLOW_CLIENT_TIMEOUT": 2}}) as server:
        async with connect(server):
            before, sockets_before = await objects(server), await sockets(server)
            async with await RawPeer.connect(server, f"/ws/?{name}") as deaf:
                deaf.stop_reading()
                for _ in range(64):
                    await deaf.send(b"echo||1||" + b"x" * 524_288)
                assert await eventually(recorded(server, name), bool) == [["disconnect", 1013]]
                # Though the peer is still there:
                await eventually(partial(objects, server), lambda now: now <= before)
                await eventually(partial(sockets, server), lambda now: now <= sockets_before)


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_server_that_is_told_to_end_lets_go_of_peers_in_every_state(kind):
    with start_server(kind, options=raised_limits(kind)) as server:
        async with AsyncExitStack() as peers:
            half, waiting = [await peers.enter_async_context(await RawPeer.open(server)) for _ in range(2)]
            await half.send_bytes(half.handshake()[:-4])
            await waiting.send_bytes(waiting.handshake("/misbehaving/?wait"))
            for frame in (b"slow||1||", b"ask||1||", b"hello||0||"):
                peer = await peers.enter_async_context(await RawPeer.connect(server))
                await peer.send(frame)
            await asyncio.to_thread(server.stop)
        assert server.complaints == []
