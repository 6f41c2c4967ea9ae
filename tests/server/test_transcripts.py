"""What the reference implementation said on the wire, replayed against ours on real servers.

Each line of `data/transcripts.jsonl` is one connection; a line added there is replayed without a change here.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from tests.support.peers import close, connect, expect_close, expect_nothing, receive
from tests.support.servers import Server

TRANSCRIPTS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data" / "transcripts.jsonl").read_text().splitlines()
    if line
]


def handshake(case: str, server: Server) -> dict[str, Any]:
    """Return what the client of this case sent in its handshake, which the transcripts tell by the case's name."""
    return {
        "cross origin": {"origin": "http://evil.example"},
        "same origin": {"origin": f"http://{server.host}"},
        "subprotocol offered": {"subprotocols": ["etp"]},
    }.get(case, {})


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda transcript: transcript["case"])
async def test_server_does_as_the_reference(server, transcript):
    steps = list(transcript["log"])
    connecting = connect(server, **handshake(transcript["case"], server))
    if "status" in steps[0]:
        with pytest.raises(InvalidStatus) as refused:
            await connecting
        assert refused.value.response.status_code == steps.pop(0)["status"]  # its body is the reference's own
        assert steps == []
        return
    async with connecting as peer:
        for step in steps:
            await replay(step, peer, server)
        assert await close(peer) == []  # nothing came that the reference did not send


async def replay(step: dict[str, Any], peer: ClientConnection, server: Server) -> None:
    """Do what the client did in this step, or wait for what the server did."""
    (kind, value), *more = step.items()
    assert not more, f"two things in one step: {step}"
    match kind:
        case "subprotocol":
            assert peer.subprotocol == value
        case "client":
            await peer.send(frame(value, "echo||1||"))
        case "server" if value is None:
            await expect_nothing(peer, timeout=0.4)  # longer than `slow` takes
        case "server":
            assert await receive(peer) == frame(value, "__ack_echo||1||")
        case "closed":
            code, reason = value
            assert await expect_close(peer) == (server.close_code(code), "" if server.is_daphne else reason)
        case _:
            pytest.fail(f"unknown step {step}")


def frame(value: Any, head: str) -> str | bytes:
    """Return the frame that a transcript's value stands for; a size alone is filled up behind `head`."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if sized := re.fullmatch(r"<(\d+) chars>", value):
        return head + "x" * (int(sized[1]) - len(head))
    assert isinstance(value, str)
    return value
