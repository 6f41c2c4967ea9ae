"""Sends to a room from synchronous code, in a process without an event loop."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

from .bursts import number_of
from .measuring import Figure, Round
from .peers import connect, disconnect
from .processes import server_core, start
from .sites import Site

__all__ = ["CallSite", "Calls"]

_QUIET = 2.0


@dataclass(frozen=True, slots=True)
class CallSite:
    """A process that calls, and who counts what comes of it.

    Attributes:
        kind: what it calls, see caller.py.
        environment: tells it of the layer.
        receiver: has the one member of the room; ``None`` where nobody listens.
    """

    kind: str
    environment: Mapping[str, str]
    receiver: Site | None


@dataclass(frozen=True, slots=True)
class Calls:
    """Threads of one process that send; one member in another process counts what comes.

    Attributes:
        threads: how many.
        calls: how many in the first round; later ones have as many as take about ``seconds``.
    """

    threads: int = 1
    calls: int = 50
    seconds: float = 0.5
    unit: str = "calls per s"

    @property
    def title(self) -> str:
        return f"sends from synchronous code, {self.threads} thread{'s' if self.threads > 1 else ''}"

    @asynccontextmanager
    async def load(self, site: CallSite) -> AsyncIterator[Round]:
        """See Work.load()."""
        member = None
        if site.receiver is not None:
            (member,) = await connect(site.receiver.servers[0].port, site.receiver.contender.dialect, 1)
            await member.ask("join", "room")
        received = 0
        calls = self.calls

        def count(payload: bytes) -> None:
            nonlocal received
            received += number_of(payload) >= 0

        async def until_received() -> None:
            quiet_since, before = time.monotonic(), received
            while received < calls and time.monotonic() - quiet_since < _QUIET:
                await asyncio.sleep(0.01)
                if received != before:
                    quiet_since, before = time.monotonic(), received

        with _caller(site) as call:

            async def burst() -> Figure:
                nonlocal received, calls
                received, calls = 0, max(calls - calls % self.threads, self.threads)
                if member is not None:
                    member.on_message = count
                seconds = await asyncio.to_thread(call, calls, self.threads)
                lost = 0
                if member is not None:
                    await until_received()
                    lost = calls - received
                rate = calls / seconds
                calls = int(rate * self.seconds)
                return Figure(rate, lost)

            try:
                yield burst
            finally:
                if member is not None:
                    await disconnect([member])


@contextmanager
def _caller(site: CallSite) -> Iterator[Callable[[int, int], float]]:
    command = [sys.executable, "-m", "benchmarks.caller", site.kind]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with start(command, server_core(), site.environment, **pipes) as process:
        stdin, stdout = process.popen.stdin, process.popen.stdout
        assert stdin is not None
        assert stdout is not None

        def call(calls: int, threads: int) -> float:
            stdin.write(f"{calls} {threads}\n".encode())
            stdin.flush()
            line = stdout.readline()
            if not line:
                raise process.fail("The calling process ended.")
            return float(line)

        with stdin, stdout:
            yield call
