"""New connections: their number per second, and the memory of an idle one."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.clients import Peer, connect, disconnect
from benchmarks.harness.comparisons import Figure, Round, Stopwatch
from benchmarks.harness.sites import Site

__all__ = ["Handshakes", "Memory"]


@dataclass(frozen=True, slots=True)
class Handshakes:
    """Connections opened, 50 at a time; closing them is not measured.

    Attributes:
        connections: the number that a round opens.
        origin: whether they send an Origin header, as browsers do, which the server then checks.
        headers: further lines of the handshake.
    """

    connections: int = 300
    origin: bool = True
    headers: str = ""
    unit: str = "per s"

    @property
    def title(self) -> str:
        return "handshakes" if self.origin else "handshakes without an Origin header"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        (server,) = site.servers

        async def burst() -> Figure:
            watch = Stopwatch(site.processes)
            with watch.running():
                peers = await connect(
                    server.port, site.contender.dialect, self.connections, headers=self.headers, origin=self.origin
                )
            await disconnect(peers)
            await _until_at_rest(site)
            return Figure(self.connections / watch.seconds, 0, watch.client, watch.servers)

        yield burst


@dataclass(frozen=True, slots=True)
class Memory:
    """The growth of a server's memory for each connection that is opened and idle.

    Attributes:
        connections: the number that each round opens; those before the first round do not count.
        headers: further lines of the handshake.
    """

    connections: int = 1000
    headers: str = ""
    unit: str = "bytes"

    @property
    def title(self) -> str:
        return "memory per idle connection"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        (server,) = site.servers

        def come() -> Coroutine[Any, Any, list[Peer]]:
            return connect(server.port, site.contender.dialect, self.connections, headers=self.headers)

        peers = await come()
        await _until_at_rest(site)
        before = server.process.resident

        async def burst() -> Figure:
            watch = Stopwatch()
            with watch.running():
                peers.extend(await come())
                await _until_at_rest(site)
            growth = server.process.resident - before
            # Memory grows in steps, so the mean over all rounds so far is more exact than this round.
            return Figure(growth / (len(peers) - self.connections), 0, watch.client)

        try:
            yield burst
        finally:
            await disconnect(peers)


async def _until_at_rest(site: Site) -> None:
    """Wait until the servers are idle, for 5 s at most."""
    for _ in range(50):
        watch = Stopwatch(site.processes)
        with watch.running():
            await asyncio.sleep(0.1)
        if watch.servers < 0.05:
            return
