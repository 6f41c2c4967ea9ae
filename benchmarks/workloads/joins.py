"""Joins of rooms by events of a client: the processor time of each."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.harness.clients import Peer, connect, disconnect
from benchmarks.harness.comparisons import Figure, Round, Stopwatch
from benchmarks.harness.sites import Site

__all__ = ["WITH_ROOMS", "Joins", "join"]

# A line of the handshake: the client knows declared rooms.
WITH_ROOMS = "Sec-WebSocket-Protocol: etp.ext.v2\r\n"


@dataclass(frozen=True, slots=True)
class Joins:
    """A client joins and leaves rooms, several at a time.

    Attributes:
        joins: the number in a round.
        at_once: how many it asks for before it waits for answers.
        is_declared: the rooms are declared; otherwise the handlers of two events put the client in and take it out.
    """

    joins: int = 4000
    at_once: int = 50
    is_declared: bool = True
    unit: str = "µs of CPU each"

    @property
    def title(self) -> str:
        return "a join and a leave by events"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        headers = WITH_ROOMS if self.is_declared else ""
        peers = await connect(site.servers[0].port, site.contender.dialect, self.at_once, headers=headers)

        async def go_in_and_out(peer: Peer, number: int) -> None:
            for turn in range(self.joins // self.at_once):
                room = f"{'declared/' if self.is_declared else 'room-'}{number * self.joins + turn}"
                await join(peer, room, is_declared=self.is_declared)
                await leave(peer, room, is_declared=self.is_declared)

        async def burst() -> Figure:
            watch = Stopwatch(site.processes)
            with watch.running():
                await asyncio.gather(*(go_in_and_out(peer, number) for number, peer in enumerate(peers)))
            return Figure(watch.servers * watch.seconds / self.joins * 1e6, 0, watch.client, watch.servers)

        try:
            yield burst
        finally:
            await disconnect(peers)


async def join(peer: Peer, room: str, *, is_declared: bool) -> None:
    """Put a client into a room."""
    if is_declared:
        await peer.ask("__join", json.dumps({"room": room}))
    else:
        await peer.ask("join", room)


async def leave(peer: Peer, room: str, *, is_declared: bool) -> None:
    """Take a client out of a room."""
    if is_declared:
        await peer.ask("__leave", json.dumps({"room": room}))
    else:
        await peer.ask("leave", room)
