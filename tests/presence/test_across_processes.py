"""Presence across two server processes and a real broker: one is cut off from it, then killed."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from tests.support.peers import connect, eventually
from tests.support.proxy import Proxy, start_proxy
from tests.support.servers import Server, start_server
from tests.support.valkey import start_valkey

ROOM = "present/lobby"
_KIND = "pubsub"


class Watcher:
    """A client in the room, which keeps what it is told."""

    def __init__(self, peer: ClientConnection) -> None:
        self._peer = peer
        self.changes: list[tuple[str, str]] = []
        self.members: dict[str, str] = {}  # who, by keys

    async def join(self) -> None:
        await self._peer.send(f"__join||1||{json.dumps({'room': ROOM})}")
        while not (frame := str(await self._peer.recv())).startswith("__ack_"):
            pass
        self.members = {entry["key"]: entry["info"]["who"] for entry in json.loads(frame.split("||", 2)[2])["members"]}

    async def read(self) -> None:
        with suppress(ConnectionClosed):
            async for frame in self._peer:
                name, _, data = str(frame).split("||", 2)
                assert name == f"__in {ROOM} __presence"
                self._take(json.loads(data))

    def _take(self, change: dict[str, Any]) -> None:
        for kind in ("joined", "changed"):
            for entry in change[kind]:
                self.members[entry["key"]] = entry["info"]["who"]
                self.changes.append((kind, entry["info"]["who"]))
        for key in change["left"]:
            self.changes.append(("left", self.members.pop(key)))

    async def sees(self, *who: str, timeout: float = 10) -> None:
        async def probe() -> list[str]:
            return sorted(self.members.values())

        await eventually(probe, lambda seen: seen == sorted(who), timeout=timeout)


@asynccontextmanager
async def watcher(server: Server, who: str) -> AsyncIterator[Watcher]:
    async with connect(server, f"/cluster/?{who}", subprotocols=["etp.ext.v2"]) as peer:
        watcher = Watcher(peer)
        await watcher.join()
        reading = asyncio.create_task(watcher.read())
        yield watcher
        await peer.close()
        await reading


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server, Proxy]]:
    """Two servers; the way of the second to the broker can be cut."""
    with (
        start_valkey() as valkey,
        start_proxy(valkey.port) as proxy,
        start_server("uvicorn", settings={"CHANNEL_LAYERS": valkey.layers(_KIND)}) as here,
        start_server("uvicorn", settings={"CHANNEL_LAYERS": valkey.layers(_KIND, port=proxy.port)}) as there,
    ):
        yield here, there, proxy


async def test_a_cut_of_15_s_shows_no_flicker_and_a_killed_process_is_gone_within_20_s(
    servers: tuple[Server, Server, Proxy],
) -> None:
    here, there, proxy = servers
    async with AsyncExitStack() as stack:
        ana = await stack.enter_async_context(watcher(here, "ana"))
        bob = await stack.enter_async_context(watcher(there, "bob"))
        assert sorted(bob.members.values()) == ["ana", "bob"]
        await ana.sees("ana", "bob")

        proxy.is_refusing = True
        proxy.cut()
        cleo = await stack.enter_async_context(watcher(here, "cleo"))
        await asyncio.sleep(15)
        assert sorted(bob.members.values()) == ["ana", "bob"]
        proxy.is_refusing = False
        await bob.sees("ana", "bob", "cleo")
        dora = await stack.enter_async_context(watcher(there, "dora"))
        for each in (ana, bob, cleo, dora):
            await each.sees("ana", "bob", "cleo", "dora")
        assert ana.changes == [("joined", "bob"), ("joined", "cleo"), ("joined", "dora")]
        assert bob.changes == [("joined", "cleo"), ("joined", "dora")]

        there.kill()
        await ana.sees("ana", "cleo", timeout=20)
        await cleo.sees("ana", "cleo", timeout=1)
        for changes in (ana.changes[3:], cleo.changes[1:]):
            assert sorted(changes) == [("left", "bob"), ("left", "dora")]
