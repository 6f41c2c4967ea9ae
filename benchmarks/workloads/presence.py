"""A room with presence: the time of a join, and the cost of joins and leaves to each process."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.harness.clients import Peer, connect, disconnect
from benchmarks.harness.comparisons import Figure, Round, Stopwatch
from benchmarks.harness.sites import Site

__all__ = ["CrowdChurn", "CrowdJoins"]

_HEADERS = "Sec-WebSocket-Protocol: etp.ext.v2\r\n"
_LIMIT = 30.0
_PASSERS = 10  # the clients that join and leave, of each process


@dataclass(frozen=True, slots=True)
class CrowdJoins:
    """A client joins and leaves a room of many members, again and again; the figure is the median time of a join.

    Attributes:
        has_presence: whether the room has presence.
        members: about how many are in the room, over all processes, with the client.
        joins: the number in a round.
        pause: how long to wait between two joins, in seconds.
    """

    has_presence: bool = True
    members: int = 500
    joins: int = 50
    pause: float = 0.02
    unit: str = "ms"

    @property
    def title(self) -> str:
        return f"a join to a room of {self.members:,}, p50"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        room = _room(self.has_presence, self.members)
        async with _crowd(site, room, self.members) as passers:

            async def burst() -> Figure:
                times = []
                for _ in range(self.joins):
                    times.append(await _ask(passers[0], "__join", room))
                    await _ask(passers[0], "__leave", room)
                    await asyncio.sleep(self.pause)
                return Figure(statistics.median(times) * 1e3)

            yield burst


@dataclass(frozen=True, slots=True)
class CrowdChurn:
    """Clients join and leave a room of many members at a rate; the figure is the load of each process.

    Attributes:
        has_presence: whether the room has presence.
        members: how many are in the room at most, over all processes, with the clients.
        rate: so many joins and as many leaves per second, over all processes.
        seconds: how long a round takes.
    """

    has_presence: bool = True
    members: int = 500
    rate: int = 100
    seconds: float = 3.0
    unit: str = "% of a core per process"

    @property
    def title(self) -> str:
        return f"{self.rate:,} joins and leaves per second in a room of {self.members:,}"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        room = _room(self.has_presence, self.members)
        async with _crowd(site, room, self.members) as passers:

            async def come_and_go(passer: Peer, until: float) -> int:
                number, start = 0, time.monotonic()
                while time.monotonic() < until:
                    await _ask(passer, "__join", room)
                    await _ask(passer, "__leave", room)
                    number += 1
                    due = start + number * len(passers) / self.rate
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                return number

            async def burst() -> Figure:
                watch, until = Stopwatch(site.processes), time.monotonic() + self.seconds
                with watch.running():
                    numbers = await asyncio.gather(*(come_and_go(passer, until) for passer in passers))
                # A busy machine may not reach the rate.
                share = self.rate * watch.seconds / sum(numbers)
                return Figure(100 * watch.servers / len(site.servers) * share, client=watch.client)

            yield burst


def _room(has_presence: bool, members: int) -> str:
    return f"{'crowd' if has_presence else 'hall'}/{members}"


@asynccontextmanager
async def _crowd(site: Site, room: str, members: int) -> AsyncIterator[list[Peer]]:
    """Fill a room, over all servers, and yield the clients that are to come, some of each server."""
    crowd: list[Peer] = []
    passers: list[Peer] = []
    try:
        for server in site.servers:
            dialect, others = site.contender.dialect, max(1, members // len(site.servers) - _PASSERS)
            crowd += await connect(server.port, dialect, others, headers=_HEADERS)
            passers += await connect(server.port, dialect, _PASSERS, headers=_HEADERS)
        for peer in crowd:
            await _ask(peer, "__join", room)
            peer.on_message = _ignore
        yield passers
    finally:
        await disconnect([*crowd, *passers])


async def _ask(peer: Peer, name: str, room: str) -> float:
    """Send an event about a room; return the seconds until its answer, between which other events may come."""
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(payload: bytes) -> None:
        if payload.startswith(b"__ack_"):
            answered.set_result(None)
        elif payload.startswith(b"__err_"):
            answered.set_exception(ValueError(payload.decode()))

    peer.on_message = take
    start = time.perf_counter()
    peer.send(name, f'{{"room":"{room}"}}', 1)
    async with asyncio.timeout(_LIMIT):
        await answered
    return time.perf_counter() - start


def _ignore(payload: bytes) -> None:
    pass
