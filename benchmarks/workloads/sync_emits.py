"""Sends to a room from synchronous code, in a process without an event loop."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from benchmarks.harness.bursts import number_of
from benchmarks.harness.clients import connect, disconnect
from benchmarks.harness.comparisons import Figure, Round, Stopwatch
from benchmarks.harness.servers import server_core, start
from benchmarks.harness.sites import CallSite, Site

__all__ = ["Calls", "calling", "listening"]

_QUIET = 2.0
_REST = 0.1


@dataclass(frozen=True, slots=True)
class Calls:
    """Threads of one process send; one member in another process counts the events.

    Attributes:
        threads: their number.
        calls: the number in the first round; later rounds have as many as take about ``seconds``.
        is_received: report how many events the other process could receive per second of processor time.
    """

    threads: int = 1
    calls: int = 50
    seconds: float = 0.5
    is_received: bool = False
    unit: str = "calls per s"

    @property
    def title(self) -> str:
        return f"sends from synchronous code, {self.threads} thread{'s' if self.threads > 1 else ''}"

    @asynccontextmanager
    async def load(self, site: CallSite) -> AsyncIterator[Round]:
        """See Work.load()."""
        async with listening(site.receiver) as listener:
            with calling(site) as call:
                calls = self.calls

                async def burst() -> Figure:
                    nonlocal calls
                    calls = max(calls - calls % self.threads, self.threads)
                    watch = Stopwatch(site.receiver.processes if site.receiver else ())
                    await listener.rest()
                    listener.received = 0
                    with watch.running():
                        seconds = float(await asyncio.to_thread(call, f"{calls} {self.threads}"))
                        lost = await listener.missing(calls)
                    figure = calls / (watch.seconds * watch.servers if self.is_received else seconds)
                    calls = int(calls / seconds * self.seconds)
                    return Figure(figure, lost)

                yield burst


class _Listener:
    """Count the events of the one member."""

    received = 0

    def take(self, payload: bytes) -> None:
        self.received += number_of(payload) >= 0

    async def rest(self) -> None:
        """Wait until the events of the other side have arrived too, because both use the same room."""
        before = -1
        while self.received != before:
            before = self.received
            await asyncio.sleep(_REST)

    async def missing(self, wanted: int) -> int:
        """Wait until this many events have arrived, or none for a while; return the number of missing ones."""
        before, quiet_since = self.received, time.monotonic()
        while self.received < wanted and time.monotonic() - quiet_since < _QUIET:
            await asyncio.sleep(0.01)
            if self.received != before:
                before, quiet_since = self.received, time.monotonic()
        return wanted - self.received


class _NoListener(_Listener):
    """Replace the listener if no member listens."""

    async def missing(self, wanted: int) -> int:
        """Return 0: no event is missing."""
        return 0


@asynccontextmanager
async def listening(site: Site | None) -> AsyncIterator[_Listener]:
    """Connect the room's only member, if there is a site for it."""
    if site is None:
        yield _NoListener()
        return
    peers = await connect(site.servers[0].port, site.contender.dialect, 1)
    await peers[0].ask("join", "room")
    listener = _Listener()
    peers[0].on_message = lambda payload: listener.take(payload)
    try:
        yield listener
    finally:
        await disconnect(peers)


@contextmanager
def calling(site: CallSite) -> Iterator[Callable[[str], str]]:
    """Start the process that sends, and yield a function that gives it an order and returns its reply."""
    command = [sys.executable, "-m", "benchmarks.contenders.caller", site.kind]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with start(command, server_core(), site.environment, **pipes) as process:
        stdin, stdout = process.popen.stdin, process.popen.stdout
        assert stdin is not None
        assert stdout is not None

        def call(order: str) -> str:
            stdin.write(f"{order}\n".encode())
            stdin.flush()
            line = stdout.readline()
            if not line:
                raise process.fail("The calling process ended.")
            return str(line.decode())

        with stdin, stdout:
            yield call
