"""After a hundred peers of each bad kind the process holds nothing of theirs: no task, future, room or connection."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from uuid import uuid4

import pytest
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from tests.support.peers import RawPeer, eventually, recorded
from tests.support.servers import Server, start_server

# What one of them leaves behind, a hundred do. daphne takes its time.
PEERS = {"daphne": 100, "uvicorn": 200}
AT_ONCE = 50
PATIENCE = 60.0  # seconds that a busy machine may take to clean up
SETTINGS = {"ETP": {"MAX_MESSAGE_SIZE": 2048, "MAX_CONCURRENT_EVENTS": 4, "MAX_QUEUED_EVENTS": 8}}

Misbehaviour = Callable[[Server], Awaitable[None]]


async def vanish_in_the_handshakes_request(server: Server) -> None:
    peer = await RawPeer.open(server)
    await peer.send_bytes(peer.handshake()[:-4])
    await peer.reset()


async def leave_in_the_handshakes_request(server: Server) -> None:
    peer = await RawPeer.open(server)
    await peer.send_bytes(peer.handshake()[:-4])
    await peer.close()


async def vanish_before_the_accept(server: Server) -> None:
    name = f"wait-{uuid4().hex}"
    peer = await RawPeer.open(server)
    await peer.send_bytes(peer.handshake(f"/misbehaving/?{name}"))
    await eventually(recorded(server, name), bool, interval=0.05)  # a RST would take the request back
    await peer.reset()


async def leave_before_the_accept(server: Server) -> None:
    peer = await RawPeer.open(server)
    await peer.send_bytes(peer.handshake("/misbehaving/?wait"))
    await peer.close()


async def vanish_after_an_early_accept(server: Server) -> None:
    peer = await RawPeer.connect(server, "/misbehaving/?accept")
    await peer.reset()


async def meet_a_hook_that_raises_after_an_early_accept(server: Server) -> None:
    peer = await RawPeer.connect(server, "/misbehaving/?accept-and-raise")
    await expect_end(peer)


async def come_from_another_origin(server: Server) -> None:
    with pytest.raises(InvalidStatus):
        await RawPeer.connect(server, origin="http://evil.example")


async def meet_a_hook_that_raises(server: Server) -> None:
    try:
        peer = await RawPeer.connect(server, "/misbehaving/?raise")
    except (InvalidStatus, ConnectionResetError):
        # HTTP 503; or daphne, which can send none, has closed, and reset the connection of a client that was busy for a
        # second. The stream then has the error, and no more the response.
        return
    await expect_end(peer)


async def vanish_in_a_handler(server: Server) -> None:
    peer = await RawPeer.connect(server)
    await send_slow(peer)
    await peer.reset()


async def leave_in_a_handler(server: Server) -> None:
    peer = await RawPeer.connect(server)
    await send_slow(peer)
    await peer.close()


async def vanish_while_asked(server: Server) -> None:
    peer = await RawPeer.connect(server, "/misbehaving/")
    await peer.send(b"hang||1||")
    assert await peer.receive_text() == "question||1"
    await peer.reset()


async def leave_while_asked(server: Server) -> None:
    peer = await RawPeer.connect(server, "/misbehaving/")
    await peer.send(b"hang||1||")
    assert await peer.receive_text() == "question||1"
    await peer.close()


async def say_goodbye_while_asked(server: Server) -> None:
    peer = await RawPeer.connect(server, "/misbehaving/")
    await peer.send(b"hang||1||")
    assert await peer.receive_text() == "question||1"
    await peer.send((1000).to_bytes(2, "big"), Opcode.CLOSE)
    assert (await peer.receive()).opcode is Opcode.CLOSE
    await peer.close()


async def send_malformed_frames(server: Server) -> None:
    peer = await RawPeer.connect(server)
    for frame in (b"", b"hello", b"hello||x"):
        await peer.send(frame)
    await peer.send(b"\xff", Opcode.BINARY)
    await peer.send(b"hello||1||")
    assert await peer.receive_text() == "__ack_hello||1||hello handled"
    await peer.close()


async def send_text_that_is_not_utf8(server: Server) -> None:
    peer = await RawPeer.connect(server)
    await peer.send(b"hello||1||\xff")
    await expect_end(peer)


async def send_too_much_at_once(server: Server) -> None:
    peer = await RawPeer.connect(server)
    await peer.send(b"echo||1||" + b"x" * 2048)
    await expect_end(peer)


async def flood(server: Server) -> None:
    peer = await RawPeer.connect(server)
    await peer.send_bytes(Frame(Opcode.TEXT, b"slow||1||").serialize(mask=True) * 30)
    await expect_end(peer)


async def be_closed_by_the_handler(server: Server) -> None:
    peer = await RawPeer.connect(server)
    await peer.send(b"bye||1||")
    await expect_end(peer)


async def send_slow(peer: RawPeer) -> None:
    """Send an event whose handler takes a while, and wait until that handler runs."""
    await peer.send(b"slow||1||")
    await peer.send(b"hello||2||")
    assert await peer.receive_text() == "__ack_hello||2||hello handled"


async def expect_end(peer: RawPeer) -> None:
    """Wait until the server closes, in order or not; then end the connection without a reply."""
    with contextlib.suppress(EOFError, ConnectionResetError):
        while (await peer.receive()).opcode is not Opcode.CLOSE:
            pass
    await peer.reset()


MISBEHAVIOURS: list[Misbehaviour] = [
    vanish_in_the_handshakes_request,
    leave_in_the_handshakes_request,
    vanish_before_the_accept,
    leave_before_the_accept,
    vanish_after_an_early_accept,
    meet_a_hook_that_raises_after_an_early_accept,
    come_from_another_origin,
    meet_a_hook_that_raises,
    vanish_in_a_handler,
    leave_in_a_handler,
    vanish_while_asked,
    leave_while_asked,
    say_goodbye_while_asked,
    send_malformed_frames,
    send_text_that_is_not_utf8,
    send_too_much_at_once,
    flood,
    be_closed_by_the_handler,
]


async def crowd(server: Server, misbehave: Misbehaviour, peers: int) -> None:
    """Let so many peers misbehave, `AT_ONCE` at a time."""
    waiting = iter(range(peers))

    async def one_after_another() -> None:
        for _ in waiting:
            await misbehave(server)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(one_after_another())


async def holdings(server: Server) -> dict[str, int]:
    """Return what the process holds, by name."""
    process = await asyncio.to_thread(server.get_json, "/process/")
    counts = {name: process[name] for name in ("tasks", "futures", "threads")}
    counts |= {f"connections in {namespace}": count for namespace, count in process["connections"].items()}
    counts |= {f"rooms in {namespace}": len(names) for namespace, names in process["rooms"].items()}
    return counts | process["objects"]


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def leaky_server(request: pytest.FixtureRequest) -> Iterator[tuple[Server, dict[str, int]]]:
    """A server that has met every misbehaviour before, and what it holds once it is idle again."""

    async def warm_up(server: Server) -> dict[str, int]:
        for misbehave in MISBEHAVIOURS:
            await crowd(server, misbehave, AT_ONCE)
        return await idle(server)

    with start_server(request.param, settings=SETTINGS) as server:
        held = asyncio.run(warm_up(server))
        assert {name: count for name, count in held.items() if count and " in " in name} == {}  # connections, rooms
        yield server, held
        server.stop()
        assert server.complaints == []


async def idle(server: Server) -> dict[str, int]:
    """Return the least that the process holds of each, once that has not sunk for 3 s.

    That is longer than any handler runs and than daphne's own rounds. What comes and goes by itself does no harm.
    """
    least: dict[str, int] = {}
    rounds_at_least = 0

    async def probe() -> int:
        nonlocal least, rounds_at_least
        now = await holdings(server)
        lower = {name: min(count, now.get(name, 0)) for name, count in (least or now).items()}
        rounds_at_least = rounds_at_least + 1 if lower == least else 0
        least = lower
        return rounds_at_least

    await eventually(probe, lambda rounds: rounds >= 12, timeout=PATIENCE, interval=0.25)
    return least


@pytest.mark.parametrize("misbehave", MISBEHAVIOURS, ids=lambda misbehave: misbehave.__name__)
async def test_a_hundred_peers_leave_nothing_behind(leaky_server, misbehave):
    server, before = leaky_server
    await crowd(server, misbehave, PEERS[server.kind])

    async def surplus() -> dict[str, int]:
        now = await holdings(server)
        return {name: count - before.get(name, 0) for name, count in now.items() if count > before.get(name, 0)}

    assert await eventually(surplus, lambda surplus: not surplus, timeout=PATIENCE, interval=0.2) == {}
