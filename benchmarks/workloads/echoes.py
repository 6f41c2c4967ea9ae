"""Events that want an answer: their number per second, and the time of one.

A client that reads answer by answer would be slower than the servers. So it learns from the first answer how a
contender frames it, predicts every byte of the answers that come together, and compares. What differs is read answer by
answer.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.bursts import Burst, number_of
from benchmarks.harness.clients import Peer, connect, disconnect, message, message_of_server
from benchmarks.harness.comparisons import Figure, Round, Stopwatch
from benchmarks.harness.sites import Site

__all__ = ["Echo", "Latency"]

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Echo:
    """Connections that send questions all the time, each with several in flight.

    Attributes:
        connections, in_flight: the number of connections, and of questions in flight on each.
        size: characters of each question.
        data: the data of each question, in place of so many letters.
        seconds: the length of a round.
        event: the event, and so the handler that answers.
        headers: further lines of the handshakes.
        idle: the number of further connections, which send nothing.
    """

    connections: int = 50
    in_flight: int = 10
    size: int = 16
    data: str = ""
    seconds: float = 0.4
    event: str = "echo"
    headers: str = ""
    idle: int = 0
    unit: str = "per s"

    @property
    def title(self) -> str:
        return f"ack echo, {self.connections} connections, {self.in_flight} in flight each"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        (server,) = site.servers
        idle = await connect(server.port, site.contender.dialect, self.idle)
        peers = await connect(server.port, site.contender.dialect, self.connections, headers=self.headers)
        askers = [_Asker(peer, self.event, self.data or "e" * self.size) for peer in peers]

        async def burst() -> Figure:
            watch = Stopwatch(site.processes)
            with watch.running():
                for asker in askers:
                    asker.begin(self.in_flight)
                await asyncio.sleep(self.seconds)
                answers = sum(asker.answers for asker in askers)
            for asker in askers:
                asker.is_asking = False
            wrong = await _missing(askers)
            rate = answers / watch.seconds
            if self.unit == "MiB per s":
                rate *= self.size / 2**20
            return Figure(rate, wrong, watch.client, watch.servers)

        try:
            yield burst
        finally:
            await disconnect([*peers, *idle])


async def _missing(askers: list["_Asker"]) -> int:
    """Wait until all questions are answered; return the number that were not answered exactly once."""
    deadline = time.monotonic() + _TIMEOUT
    for asker in askers:
        while asker.pending and time.monotonic() < deadline:  # noqa: ASYNC110 (an event would cost each answer)
            await asyncio.sleep(0.001)
    return sum(len(asker.pending) + asker.strangers for asker in askers)


_FIRST = 100_000_000  # all numbers have as many digits, so that the rest of a frame stays the same
_DIGITS = len(str(_FIRST))


class _Asker:
    """One connection that sends the next question as soon as it has an answer."""

    def __init__(self, peer: Peer, event: str, data: str) -> None:
        self._peer = peer
        before, behind = peer.dialect.event(event, data)
        # The parts of a frame before and behind its number.
        self._question = _parted(message(b"%b%d%b" % (before, _FIRST, behind)), _FIRST)
        self._answer: tuple[bytes, bytes] | None = None  # until one has come
        self._size = 0  # of an answer's frame
        self._next = _FIRST
        self.pending: set[int] = set()
        self.answers = 0
        self.strangers = 0
        self.is_asking = False

    def begin(self, in_flight: int) -> None:
        self.answers = self.strangers = 0
        self.is_asking = True
        self._peer.on_message = self._answered
        self._peer.on_data = self._take
        self._ask(in_flight)

    def _ask(self, times: int) -> None:
        numbers = range(self._next, self._next + times)
        self._next += times
        self.pending.update(numbers)
        self._peer.transport.write(_frames(self._question, numbers))

    def _take(self, data: bytes) -> bytes:
        """Take the answers at the beginning of what was received, if they are as expected; return the rest."""
        if len(data) < 2 * self._size or self._answer is None:
            return data  # a single answer is read as fast in the other way
        begin, size = len(self._answer[0]), self._size
        end = len(data) // size * size
        digits = [data[at : at + _DIGITS] for at in range(begin, end, size)]
        if not all(map(bytes.isdigit, digits)):
            return data
        numbers = [int(each) for each in digits]
        wanted = self.pending.intersection(numbers)
        if len(wanted) != len(numbers) or data[:end] != _frames(self._answer, numbers):
            return data
        self.pending -= wanted
        self.answers += len(numbers)
        if self.is_asking:
            self._ask(len(numbers))
        return data[end:]

    def _answered(self, payload: bytes) -> None:
        number = self._peer.dialect.answered(payload)
        if number in self.pending:
            self.pending.remove(number)
            self.answers += 1
            if self._answer is None:
                self._answer = _parted(frame := message_of_server(payload), number)
                self._size = len(frame)
            if self.is_asking:
                self._ask(1)
        else:
            self.strangers += 1


def _parted(frame: bytes, number: int) -> tuple[bytes, bytes]:
    before, _, behind = frame.partition(b"%d" % number)
    return before, behind


def _frames(parts: tuple[bytes, bytes], numbers: Iterable[int]) -> bytes:
    before, behind = parts
    return b"".join([b"%b%d%b" % (before, number, behind) for number in numbers])


@dataclass(frozen=True, slots=True)
class Latency:
    """One connection that sends one question after the other.

    Attributes:
        percentile: the reported time, in percent.
        questions: the number in a round.
        storm: members of a room that receives 100 messages per second meanwhile; 0 for none.
    """

    percentile: int = 50
    questions: int = 1000
    storm: int = 0
    unit: str = "µs"

    @property
    def title(self) -> str:
        meanwhile = f", while a room of {self.storm:,} gets 100 messages per s" if self.storm else ""
        return f"echo latency, p{self.percentile}{meanwhile}"

    @asynccontextmanager
    async def load(self, site: Site) -> AsyncIterator[Round]:
        """See Work.load()."""
        (server,) = site.servers
        (asker,) = await connect(server.port, site.contender.dialect, 1)
        crowd = await connect(server.port, site.contender.dialect, self.storm)
        for member in crowd:
            await member.ask("join", "storm")

        async def burst() -> Figure:
            timer = _Timer(asker)
            watch = Stopwatch()
            with watch.running():
                if crowd:
                    times = await timer.run_during(_storm(crowd[0], max(self.questions // 10, 1)))
                else:
                    times = await timer.run(self.questions)
            return Figure(_percentile(times, self.percentile) * 1e6, 0, watch.client)

        try:
            yield burst
        finally:
            await disconnect([asker, *crowd])


class _Timer:
    """One connection that records the time of each question."""

    def __init__(self, asker: Peer) -> None:
        self._asker = asker
        self._before, self._behind = asker.dialect.event("echo", "e" * 16)
        self._times: list[float] = []
        self._left = 0
        self._asked_at = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asker.on_message = self._answered

    async def run(self, questions: int) -> list[float]:
        """Send this many questions; return the seconds that each took."""
        self._left = questions
        self._ask()
        async with asyncio.timeout(_TIMEOUT):
            await self._done
        return self._times

    async def run_during(self, doing: Coroutine[Any, Any, None]) -> list[float]:
        """Send questions until another task has ended."""
        asking = asyncio.ensure_future(self.run(1_000_000_000))
        await doing
        self._left = 1
        return await asking

    def _ask(self) -> None:
        frame = message(b"%b%d%b" % (self._before, len(self._times) + 1, self._behind))
        self._asked_at = time.perf_counter()
        self._asker.transport.write(frame)

    def _answered(self, payload: bytes) -> None:
        self._times.append(time.perf_counter() - self._asked_at)
        self._left -= 1
        if self._left > 0:
            self._ask()
        else:
            self._done.set_result(None)


async def _storm(sender: Peer, messages: int) -> None:
    """Let the server send for a while, and wait until it has finished."""
    done = asyncio.get_running_loop().create_future()

    def take(payload: bytes) -> None:
        if number_of(payload) < 0:
            done.set_result(None)

    sender.on_message = take
    sender.send("burst", str(Burst("storm", messages, pause=0.01)), 1)
    async with asyncio.timeout(_TIMEOUT):
        await done


def _percentile(times: list[float], percentile: int) -> float:
    if len(times) < 2:
        return times[0]
    return statistics.quantiles(times, n=100, method="inclusive")[percentile - 1]
