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
from tests.support.valkey import Valkey, start_valkey

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


def settings(valkey: Valkey, **options: Any) -> dict[str, Any]:
    return {"CHANNEL_LAYERS": valkey.layers(_KIND, **options), "ETP": {"PRESENCE_GRACE": 3}}


@pytest.fixture
def servers() -> Iterator[tuple[Server, Server, Server, Proxy]]:
    """Three servers; the way of the last one to the broker can be cut."""
    with (
        start_valkey() as valkey,
        start_proxy(valkey.port) as proxy,
        start_server("uvicorn", settings=settings(valkey)) as here,
        start_server("uvicorn", settings=settings(valkey)) as ending,
        start_server("uvicorn", settings=settings(valkey, port=proxy.port)) as there,
    ):
        yield here, ending, there, proxy


async def test_entries_of_a_process_that_is_cut_off_ends_or_is_killed(
    servers: tuple[Server, Server, Server, Proxy],
) -> None:
    """Without a flicker in a cut of 15 s, gone after the grace if the process ends, within 20 s if it is killed."""
    here, ending, there, proxy = servers
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

        async with watcher(ending, "eve"):
            await ana.sees("ana", "bob", "cleo", "dora", "eve")
            ended_at = asyncio.get_running_loop().time()
            await asyncio.to_thread(ending.stop)
            assert "eve" in ana.members.values()
        await ana.sees("ana", "bob", "cleo", "dora")
        assert 2.5 < asyncio.get_running_loop().time() - ended_at < 10
        for each in (ana, cleo):
            assert each.changes[-2:] == [("joined", "eve"), ("left", "eve")]
            del each.changes[-2:]

        there.kill()
        await ana.sees("ana", "cleo", timeout=20)
        await cleo.sees("ana", "cleo", timeout=1)
        for changes in (ana.changes[3:], cleo.changes[1:]):
            assert sorted(changes) == [("left", "bob"), ("left", "dora")]
