"""Rooms with history: emits, the recovery of one client, and clients that all return to a new process."""

import asyncio
import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis import Redis

from benchmarks.harness.bursts import number_of
from benchmarks.harness.clients import Peer, connect, disconnect
from benchmarks.harness.comparisons import Figure, Round
from benchmarks.harness.servers import server_core, start_server
from benchmarks.harness.sites import CallSite, Site

from .joins import WITH_ROOMS, join, leave

__all__ = ["Emits", "ReadsOfReturns", "Recovery", "Returns"]

_LIMIT = 120.0


@dataclass(frozen=True, slots=True)
class Emits:
    """One process emits to a declared room, in which it has a member; the time ends when all emits have returned.

    Attributes:
        has_history: whether the room has a history.
        at_once: how many emits are under way at a time.
        emits: their number in a round.
    """

    has_history: bool = True
    at_once: int = 50
    emits: int = 1000
    unit: str = "emits per s"

    @property
    def title(self) -> str:
        return f"emits to a declared room, {self.at_once} at a time"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        peers = await connect(site.servers[0].port, site.contender.dialect, 2, headers=WITH_ROOMS)
        member, sender = peers
        room = f"{'kept' if self.has_history else 'declared'}/{site.servers[0].port}"
        await join(member, room, is_declared=True)
        waiting = _Waiting(member)

        async def burst() -> Figure:
            arrived = waiting.expect(self.emits)
            start = time.perf_counter()
            await sender.ask("emit_many", f"{room} {self.emits} {self.at_once}", timeout=_LIMIT)
            seconds = time.perf_counter() - start
            await arrived
            return Figure(self.emits / seconds)

        try:
            yield burst
        finally:
            await disconnect(peers)


@dataclass(frozen=True, slots=True)
class Recovery:
    """A client returns to a room, in which another member has stayed; the figure is the median time.

    Attributes:
        missed: the number of events that it has missed, which is the history; with 0 it enters without a position.
        returns: the number in a round.
    """

    missed: int = 100
    returns: int = 50
    unit: str = "ms"

    @property
    def title(self) -> str:
        return "a return to a room, p50"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        peers = await connect(site.servers[0].port, site.contender.dialect, 2, headers=WITH_ROOMS)
        member, passer = peers
        room = f"kept/{site.servers[0].port}"
        since = await _position(member, room)
        if self.missed:
            await member.ask("emit_many", f"{room} {self.missed} 1", timeout=_LIMIT)
        waiting = _Waiting(passer)

        async def burst() -> Figure:
            times = []
            for _ in range(self.returns):
                start = time.perf_counter()
                if self.missed:
                    await waiting.join(room, since, self.missed)
                else:
                    await join(passer, room, is_declared=True)
                times.append(time.perf_counter() - start)
                await leave(passer, room, is_declared=True)
            return Figure(statistics.median(times) * 1e3)

        try:
            yield burst
        finally:
            await disconnect(peers)


@dataclass(frozen=True, slots=True)
class Returns:
    """Clients of one room connect at once to a process that has just started, and recover what they have missed.

    Attributes:
        has_history: whether the room has a history; without it they connect and join only.
        clients: their number.
        missed: the number of events that each has missed.
    """

    has_history: bool = True
    clients: int = 1000
    missed: int = 50
    unit: str = "s"

    @property
    def title(self) -> str:
        return f"{self.clients:,} clients of one room return to a new process, until all are up to date"

    @asynccontextmanager
    async def load(self, site: CallSite) -> AsyncIterator[Round]:
        """See Work.load()."""
        async with _gone(site, self.has_history, self.missed) as (room, since):

            async def burst() -> Figure:
                return Figure((await _return(site, room, since, self.clients, self.missed))[0])

            yield burst


@dataclass(frozen=True, slots=True)
class ReadsOfReturns:
    """The same clients; the figure is the number of scripts that the store has run for them.

    Attributes:
        clients: their number.
        missed: the number of events that each has missed.
    """

    clients: int = 1000
    missed: int = 50
    unit: str = "reads of the store"

    @property
    def title(self) -> str:
        return "clients of one room return to a new process"

    @asynccontextmanager
    async def load(self, site: CallSite) -> AsyncIterator[Round]:
        """See Work.load()."""
        async with _gone(site, True, self.missed) as (room, since):

            async def burst() -> Figure:
                return Figure((await _return(site, room, since, self.clients, self.missed))[1])

            yield burst


@asynccontextmanager
async def _gone(site: CallSite, has_history: bool, missed: int) -> AsyncIterator[tuple[str, str]]:
    """Yield a room, and a position after which it has so many events; the process that sent them goes on."""
    assert site.receiver is not None
    server = site.receiver.servers[0]
    (sender,) = await connect(server.port, site.receiver.contender.dialect, 1, headers=WITH_ROOMS)
    room, since = f"{'kept' if has_history else 'declared'}/{server.port}", ""
    if has_history:
        since = await _position(sender, room)
        await sender.ask("emit_many", f"{room} {missed} 1", timeout=_LIMIT)
    await disconnect([sender])
    yield room, since


async def _return(site: CallSite, room: str, since: str, clients: int, missed: int) -> tuple[float, int]:
    """Start a process and let the clients return to it; return the seconds, and the reads of the store."""
    assert site.receiver is not None
    contender = site.receiver.contender
    environment = dict(site.environment)
    with start_server("uvicorn", contender.application, server_core(), environment) as server:
        before = _scripts(environment["BENCHMARK_BROKER"])
        start = time.perf_counter()
        peers = await connect(server.port, contender.dialect, clients, headers=WITH_ROOMS)
        joins = (
            _Waiting(peer).join(room, since, missed) if since else join(peer, room, is_declared=True) for peer in peers
        )
        async with asyncio.timeout(_LIMIT):
            await asyncio.gather(*joins)
        seconds = time.perf_counter() - start
        reads = _scripts(environment["BENCHMARK_BROKER"]) - before
        await disconnect(peers)
    return seconds, reads


def _scripts(broker: str) -> int:
    """Return how many scripts the broker has run."""
    with Redis.from_url(broker) as redis:
        statistics_of = redis.info("commandstats")
    return sum(statistics_of.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("eval", "evalsha"))


class _Waiting:
    """Wait for events of a burst at one member; answers to its questions do not count."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._left = 0
        self._arrived: asyncio.Future[None]

    def expect(self, events: int) -> "asyncio.Future[None]":
        """Return a future of the arrival of so many events."""
        self._left = events
        self._arrived = asyncio.get_running_loop().create_future()
        self._peer.on_message = self._take
        return self._arrived

    async def join(self, room: str, since: str, events: int) -> None:
        """Join a room; return once the answer is here, and so many events that the client has missed."""
        arrived = self.expect(events)
        self._peer.send("__join", json.dumps({"room": room, "since": since}), 1)
        async with asyncio.timeout(_LIMIT):
            await arrived

    def _take(self, payload: bytes) -> None:
        if payload.startswith(b"__err_") or (
            payload.startswith(b"__ack___join") and b'"recovered":true' not in payload
        ):
            self._arrived.set_exception(ValueError(f"The client has not recovered: {payload[:300]!r}"))
        self._left -= number_of(payload) >= 0
        if not self._left and not self._arrived.done():
            self._arrived.set_result(None)


async def _position(peer: Peer, room: str) -> str:
    """Join a room with history, and return its position."""
    position: str = json.loads(await peer.ask("__join", json.dumps({"room": room})))["position"]
    return position
