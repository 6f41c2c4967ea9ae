"""Members of the namespace "cluster" that keep received events, answer questions, and make their server call rooms."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.peers import WAIT, connect
from tests.support.servers import Server

_ack_ids = count(1)


class Listener:
    """A peer that reads all the time and answers.

    `answers` maps an event to its answer: a text, or `None` for no answer; "bye" makes the peer leave without one.
    Other events are answered with their own data.
    """

    def __init__(self, peer: ClientConnection, answers: Mapping[str, str | None]) -> None:
        self.id = ""
        self.heard: list[tuple[str, str]] = []
        self._peer = peer
        self._answers = answers
        self._asked: dict[str, asyncio.Future[str]] = {}
        self._has_news = asyncio.Event()
        self._reading = asyncio.get_running_loop().create_task(self._read())

    async def ask(self, event: str, data: object = None, *, timeout: float = 30) -> str:
        """Send an event and return the data of its answer."""
        ack_id = str(next(_ack_ids))
        answer = self._asked[ack_id] = asyncio.get_running_loop().create_future()
        await self._peer.send("||".join([event, ack_id, *([] if data is None else [json.dumps(data)])]))
        async with asyncio.timeout(timeout):
            return await answer

    async def call(self, how: str, name: str, *arguments: Any, **keywords: Any) -> Any:
        """Make its server call the rooms API, in the handler `call` or `call_sync`.

        Return the result, or {"error": its class, "answer": …} if the call raised.
        """
        outcome = json.loads(await self.ask(how, [name, arguments, keywords]))
        return outcome.get("result") if "result" in outcome else outcome

    async def hear(self, *expected: tuple[str, str], timeout: float = WAIT) -> None:
        """Wait for the expected number of events, and fail if they differ."""
        await self.hear_until(lambda: len(self.heard) >= len(expected), timeout=timeout)
        assert self.heard == list(expected)
        self.heard.clear()

    async def hear_until(self, holds: Callable[[], bool], *, timeout: float = WAIT) -> None:
        """Wait until the condition holds for the received events, at most `timeout` seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not holds():
                    self._has_news.clear()
                    await self._has_news.wait()

    async def expect_close(self, *, timeout: float = WAIT) -> tuple[int, str]:
        """Return the server's close code and reason; 1006 if it sent no close frame."""
        async with asyncio.timeout(timeout):
            await asyncio.wait([self._reading])
        closed = self._peer.protocol.close_rcvd
        return (closed.code, closed.reason) if closed else (1006, "")

    async def close(self) -> None:
        await self._peer.close()
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        with suppress(ConnectionClosed):
            async for frame in self._peer:
                name, ack_id, *data = str(frame).split("||", 2)
                await self._take(name, ack_id, data[0] if data else "")
        for asked in self._asked.values():
            asked.cancel()

    async def _take(self, name: str, ack_id: str, data: str) -> None:
        if name.startswith("__ack_"):
            if asked := self._asked.pop(ack_id, None):
                asked.set_result(data)
            return
        self.heard.append((name, data))
        self._has_news.set()
        if ack_id != "0":
            answer = self._answers.get(name, data)
            if answer == "bye":
                await self._peer.close()
            elif answer is not None:
                await self._peer.send(f"__ack_{name}||{ack_id}||{answer}")


@asynccontextmanager
async def listener(
    server: Server, *rooms: str, path: str = "/cluster/", answers: Mapping[str, str | None] | None = None
) -> AsyncIterator[Listener]:
    """Connect a member of these rooms until the block ends."""
    member = Listener(await connect(server, f"{path}?{','.join(rooms)}"), answers or {})
    try:
        member.id = await member.ask("id")
        yield member
    finally:
        await member.close()


async def hear_nothing_more(*members: Listener) -> None:
    """Fail if a member has received anything so far: an event sent now must be the next that it receives."""
    for member in members:
        await member.call("call", "emit_to", member.id, "last")
        await member.hear(("last", ""))
