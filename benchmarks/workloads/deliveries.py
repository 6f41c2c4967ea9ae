"""Events for rooms: the number of deliveries per second, and of lost ones.

A client that reads frame by frame would be slower than the servers. So the client learns from the first message how a
contender frames it, predicts every byte for each member, and compares. Its sockets wake it for several frames at a
time, up to the last ones. Data that differs from the prediction is read frame by frame, and errors are counted.

What a server compresses depends on what it has sent before, so it is not predicted. Then the first member unpacks each
message, and the others count theirs.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.harness.bursts import Burst, number_of, renumbered
from benchmarks.harness.clients import Peer, connect, disconnect, message_of_server
from benchmarks.harness.comparisons import Figure, Round, Stopwatch
from benchmarks.harness.sites import Site

from .joins import WITH_ROOMS, join

__all__ = ["Room"]

# After this many seconds without data, the rest counts as lost.
_QUIET = 2.0
# The client waits for this many frames at a time: few, so that TCP works much as if it read each one.
_FRAMES = 5
# After this many seconds without data it waits for single frames, because one of several may be lost.
_PATIENCE = 0.1


@dataclass(frozen=True, slots=True)
class Room:
    """A room whose members receive a burst of one handler; they are spread over all processes.

    Attributes:
        members: their number.
        messages: the number in a burst; servers that write many at once do that in larger bursts.
        size: characters of each message.
        is_declared: the members enter a declared room, with the extensions that this takes.
        headers: further lines of the handshakes.
    """

    members: int = 200
    messages: int = 100
    size: int = 32
    is_declared: bool = False
    headers: str = ""
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
            headers = self.headers + (WITH_ROOMS if self.is_declared else "")
            peers += await connect(server.port, site.contender.dialect, share + (number < rest), headers=headers)
        # Other sites may share the broker, so use a room of our own.
        room = f"{'declared/' if self.is_declared else 'room-'}{site.servers[0].port}"
        for peer in peers:
            await join(peer, room, is_declared=self.is_declared)
        crowd = _Crowd(peers)

        async def burst() -> Figure:
            return await crowd.receive(Burst(room, self.messages, self.size), Stopwatch(site.processes))

        try:
            yield burst
        finally:
            await disconnect(peers)


class _Crowd:
    """The members and their counts.

    Attributes:
        missing: the number of deliveries that have not arrived yet.
        sample: the frame of a message, as the server sends it.
        is_patient: whether the members wait for several frames at a time.
    """

    def __init__(self, peers: list[Peer]) -> None:
        self._peers = peers
        self._counters: list[_Counter] = []
        self.missing = 0
        self.sample = b""
        self.is_patient = False
        self._is_answered = False
        self._all_here: asyncio.Future[None]

    async def receive(self, burst: Burst, watch: Stopwatch) -> Figure:
        """Let the first member request a burst; return its rate."""
        self._all_here = asyncio.get_running_loop().create_future()
        self.missing = burst.messages * len(self._peers)
        self._is_answered = False
        expected = _Expected(self.sample, burst.messages) if self.sample else None
        self._counters = [_Counter(peer, self, expected) for peer in self._peers]
        self.is_patient = expected is not None
        for counter in self._counters:
            counter.wait()
        for peer, counter in zip(self._peers[1:], self._counters[1:], strict=True):
            peer.on_packed = counter.take_packed
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
        """Wait until everything has arrived, or nothing for a while; return the seconds of that last silence."""
        missing, changed_at = self.missing, time.perf_counter()
        while not self._all_here.done():
            await asyncio.wait([self._all_here], timeout=0.05)
            now = time.perf_counter()
            if self.missing != missing:
                missing, changed_at = self.missing, now
            elif now - changed_at > _QUIET and self._is_answered:
                return now - changed_at
            elif self.is_patient and now - changed_at > _PATIENCE:
                self.is_patient = False
                for peer in self._peers:
                    peer.wait_for(1)
        return 0.0


class _Expected:
    """The bytes that each member should receive.

    Attributes:
        size: bytes of each frame.
    """

    def __init__(self, sample: bytes, messages: int) -> None:
        self.stream = b"".join(renumbered(sample, number) for number in range(messages))
        self.size = len(sample)


class _Counter:
    """The bytes that one member has received."""

    __slots__ = ("_at", "_crowd", "_expected", "_next", "_peer", "disordered", "received")

    def __init__(self, peer: Peer, crowd: _Crowd, expected: _Expected | None) -> None:
        self._peer = peer
        self._crowd = crowd
        self._expected = expected
        self._at = 0
        self._next = 0
        self.received = 0
        self.disordered = 0
        peer.on_message = self._take
        peer.on_data = self._compare if expected is not None else None

    def wait(self) -> None:
        """Wake the client after several frames, or after the last one."""
        if self._expected is not None and self._crowd.is_patient:
            left = len(self._expected.stream) - self._at
            self._peer.wait_for(max(min(left, _FRAMES * self._expected.size), 1))

    def _compare(self, data: bytes) -> bytes:
        expected = self._expected
        assert expected is not None
        if not expected.stream.startswith(data, self._at):
            self._peer.on_data = None
            self._peer.wait_for(1)
            return expected.stream[self.received * expected.size : self._at] + data
        self._at += len(data)
        self.wait()
        received = self._at // expected.size
        self._count(received - self.received)
        self._next = received
        return b""

    def take_packed(self, payload: bytes) -> None:
        """Count a message without reading it."""
        self._count(1)

    def _take(self, payload: bytes) -> None:
        number = number_of(payload)
        if number < 0:
            self._crowd.answered()
            return
        if not self._peer.is_packed:
            self._crowd.sample = self._crowd.sample or message_of_server(payload)
        if number < self._next:
            self.disordered += 1
        else:
            self._next = number + 1
        self._count(1)

    def _count(self, messages: int) -> None:
        self.received += messages
        self._crowd.missing -= messages
        if self._crowd.missing <= 0:
            self._crowd.end_where_all_is_here()
