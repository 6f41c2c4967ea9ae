"""Events for rooms: how many deliveries per second, and whether any is lost."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .bursts import Burst, number_of
from .measuring import Figure, Round, Stopwatch
from .peers import Peer, connect, disconnect
from .sites import Site

__all__ = ["Room"]

# Once nothing has come for so long, in seconds, nothing will.
_QUIET = 2.0


@dataclass(frozen=True, slots=True)
class Room:
    """A room whose members get a burst that one handler sends; they are spread over all processes.

    Attributes:
        members: how many.
        messages: how many a burst has; servers that write many at once do so in larger ones.
        size: characters of each message.
    """

    members: int = 200
    messages: int = 100
    size: int = 32
    unit: str = "deliveries per s"

    @property
    def title(self) -> str:
        return f"burst of {self.messages:,} to a room of {self.members:,}"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        share, rest = divmod(self.members, len(site.servers))
        peers: list[Peer] = []
        for number, server in enumerate(site.servers):
            peers += await connect(server.port, site.contender.dialect, share + (number < rest))
        room = f"room-{site.servers[0].port}"  # other sites may share the broker, but not the room
        for peer in peers:
            await peer.ask("join", room)
        crowd = _Crowd(peers)

        async def burst() -> Figure:
            return await crowd.receive(Burst(room, self.messages, self.size), Stopwatch(site.processes))

        try:
            yield burst
        finally:
            await disconnect(peers)


class _Crowd:
    """The members, and what they count."""

    def __init__(self, peers: list[Peer]) -> None:
        self._peers = peers
        self._counters: list[_Counter] = []
        self.missing = 0
        self._is_answered = False
        self._all_here: asyncio.Future[None]

    async def receive(self, burst: Burst, watch: Stopwatch) -> Figure:
        """Let the first member ask for a burst; return how fast it came."""
        self._all_here = asyncio.get_running_loop().create_future()
        self.missing = burst.messages * len(self._peers)
        self._is_answered = False
        self._counters = [_Counter(peer, self) for peer in self._peers]
        with watch.running():
            self._peers[0].send("burst", str(burst), 1)
            quiet = await self._wait()
        received = sum(counter.received for counter in self._counters)
        disordered = sum(counter.disordered for counter in self._counters)
        busy = max(watch.seconds - quiet, 1e-9)
        share = watch.seconds / busy
        return Figure(received / busy, max(self.missing, 0) + disordered, watch.client * share, watch.servers * share)

    def answered(self) -> None:
        self._is_answered = True
        self.end_where_all_is_here()

    def end_where_all_is_here(self) -> None:
        if self.missing <= 0 and self._is_answered and not self._all_here.done():
            self._all_here.set_result(None)

    async def _wait(self) -> float:
        """Wait until all is here, or nothing has come for a while; return how long that was, in seconds."""
        missing, changed_at = self.missing, time.perf_counter()
        while not self._all_here.done():
            await asyncio.wait([self._all_here], timeout=0.05)
            now = time.perf_counter()
            if self.missing != missing:
                missing, changed_at = self.missing, now
            elif now - changed_at > _QUIET and self._is_answered:
                return now - changed_at
        return 0.0


class _Counter:
    """What one member has received."""

    __slots__ = ("_crowd", "_next", "disordered", "received")

    def __init__(self, peer: Peer, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._next = 0
        self.received = 0
        self.disordered = 0
        peer.on_message = self._take

    def _take(self, payload: bytes) -> None:
        number = number_of(payload)
        if number < 0:
            self._crowd.answered()
            return
        self.received += 1
        if number < self._next:
            self.disordered += 1
        else:
            self._next = number + 1
        crowd = self._crowd
        crowd.missing -= 1
        if crowd.missing <= 0:
            crowd.end_where_all_is_here()
