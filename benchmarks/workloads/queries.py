"""Queries about a room: their time, compared with an empty round trip to the broker."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.harness.clients import connect, disconnect
from benchmarks.harness.comparisons import Figure, Round
from benchmarks.harness.sites import Site

__all__ = ["JoinsAndLeaves", "MembersQuery"]


@dataclass(frozen=True, slots=True)
class MembersQuery:
    """A handler asks for the members of a room over all processes.

    Attributes:
        members: their number.
        questions: the number in a round.
        is_round_trip: report the time of the round trips to the broker between the queries, not that of the queries.
    """

    members: int = 1000
    questions: int = 30
    is_round_trip: bool = False
    unit: str = "µs"

    @property
    def title(self) -> str:
        return "broker round trip" if self.is_round_trip else f"members of a room of {self.members:,}"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        room = f"asked-{self.members}"
        peers = []
        for server in site.servers:
            peers += await connect(server.port, site.contender.dialect, self.members // len(site.servers))
        for peer in peers:
            await peer.ask("join", room)

        async def burst() -> Figure:
            answer = json.loads(await peers[0].ask("ask_members", f"{room} {self.questions}"))
            return Figure(answer[self.is_round_trip] * 1e6)

        try:
            yield burst
        finally:
            await disconnect(peers)


@dataclass(frozen=True, slots=True)
class JoinsAndLeaves:
    """A connection joins and leaves rooms one after the other while it is in other rooms.

    Attributes:
        rooms: the number that it is in all the time.
        joins: the number that it joins and leaves in a round.
    """

    rooms: int
    joins: int = 200
    unit: str = "per s"

    @property
    def title(self) -> str:
        return f"joins and leaves beside {self.rooms:,} rooms"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        (peer,) = await connect(site.servers[0].port, site.contender.dialect, 1)
        await peer.ask("join_many", str(self.rooms))

        async def burst() -> Figure:
            seconds = float(await peer.ask("join_and_leave", str(self.joins)))
            return Figure(2 * self.joins / seconds)

        try:
            yield burst
        finally:
            await disconnect([peer])
