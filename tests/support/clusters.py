"""Run several real processes with one real broker: servers, plain scripts, and members of the namespace "cluster"."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.peers import WAIT, connect, eventually
from tests.support.servers import ROOT, Server

_numbers = count(1)


class Member:
    """A peer of the namespace "cluster" that reads all the time and keeps the events it received."""

    def __init__(self, peer: ClientConnection) -> None:
        self._peer = peer
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._reading = asyncio.get_running_loop().create_task(self._read())
        self.events: list[str] = []

    async def ask(self, event: str, data: object = None, *, timeout: float = 30) -> str:
        """Send an event and return the data of its answer."""
        ack_id = str(next(_numbers))
        answer = self._answers[ack_id] = asyncio.get_running_loop().create_future()
        await self._peer.send("||".join([event, ack_id, *([] if data is None else [json.dumps(data)])]))
        async with asyncio.timeout(timeout):
            return await answer

    async def call(self, name: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """Make its handler call the rooms API; return {"result": …} or {"error": its class, "answer": …}."""
        outcome: dict[str, Any] = json.loads(await self.ask("call", [name, arguments, keywords]))
        return outcome

    async def expect(self, event: str, *, timeout: float = WAIT) -> None:
        """Wait until it has received an event with this name."""

        async def probe() -> list[str]:
            return self.events

        await eventually(probe, lambda events: event in events, timeout=timeout, interval=0.02)

    async def expect_end(self, *, timeout: float = WAIT) -> None:
        """Wait until its connection has ended."""
        async with asyncio.timeout(timeout):
            await asyncio.wait([self._reading])

    async def close(self, code: int = 1000) -> None:
        await self._peer.close(code)
        await asyncio.wait([self._reading])

    async def _read(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for frame in self._peer:
                name, ack_id, *data = str(frame).split("||", 2)
                if name.startswith("__ack_"):
                    self._answers.pop(ack_id).set_result(data[0] if data else "")
                else:
                    self.events.append(name)
        for answer in self._answers.values():
            answer.cancel()


@asynccontextmanager
async def member_of(server: Server, *rooms: str) -> AsyncIterator[Member]:
    """Connect a member of these rooms until the block ends."""
    member = Member(await connect(server, f"/cluster/?{','.join(rooms)}"))
    try:
        yield member
    finally:
        await member.close()


class Script:
    """A process without an event loop that calls the rooms API; see `start_script`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    async def call(self, name: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """Make it call the rooms API; return {"result": …} or {"error": its class, "answer": …}."""
        return await asyncio.to_thread(self._do, ["call", name, arguments, keywords])

    async def fork(self, *calls: Sequence[Any]) -> dict[str, Any]:
        """Make it fork a child that makes these calls, each [name, arguments], and then exits normally."""
        return await asyncio.to_thread(self._do, ["fork", calls])

    async def wait_for_children(self) -> dict[str, Any]:
        """Wait until all children have ended; return {"result": their exit codes}."""
        return await asyncio.to_thread(self._do, ["wait"])

    def end(self) -> tuple[int, str]:
        """Make it exit normally; return its exit code and its stderr."""
        _, complaints = self.process.communicate(timeout=30)
        return self.process.returncode, complaints

    def _do(self, command: list[Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, "the script ended"
        outcome: dict[str, Any] = json.loads(line)
        return outcome


@contextmanager
def start_script(settings: dict[str, Any]) -> Iterator[Script]:
    """Run `tests.site.script` with these Django settings until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.site.script"],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.site.settings",
            "SITE_SETTINGS": json.dumps(settings),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield Script(process)
    finally:
        with process:
            process.kill()


async def until_heard(sender: Member | Script, room: str, *receivers: Member, timeout: float) -> None:
    """Emit to a room repeatedly until each receiver has received one of these events."""
    sent: list[str] = []

    async def probe() -> list[Member]:
        sent.append(f"ping-{next(_numbers)}")
        await sender.call("emit", room, sent[-1])
        return [receiver for receiver in receivers if not set(sent) & set(receiver.events)]

    await eventually(probe, lambda deaf: not deaf, timeout=timeout, interval=0.1)


async def until_answered(
    asker: Member | Script, name: str, *arguments: Any, expected: Any, timeout: float
) -> list[dict[str, Any]]:
    """Repeat a query until the reply is complete and as expected; return the earlier replies."""
    outcomes: list[dict[str, Any]] = []
    deadline = asyncio.get_running_loop().time() + timeout
    while (outcome := await asker.call(name, *arguments)) != {"result": expected}:
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"{name} still {outcome} after {timeout} s")
        outcomes.append(outcome)
        await asyncio.sleep(0.1)
    return outcomes
