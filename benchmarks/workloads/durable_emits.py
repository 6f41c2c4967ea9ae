"""Durable events: a process without an event loop commits them, a server relays them, and one member receives them."""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.harness.bursts import number_of
from benchmarks.harness.comparisons import Figure, Round
from benchmarks.harness.sites import CallSite

from .sync_emits import calling, listening

__all__ = ["DurableCalls", "DurableLatency"]


@dataclass(frozen=True, slots=True)
class DurableCalls:
    """Threads commit events; the time ends with the last arrival.

    Attributes:
        threads: their number.
        calls: the number of events in a round.
        each: how many of them share a transaction.
    """

    threads: int = 4
    calls: int = 2000
    each: int = 1
    unit: str = "events per s"

    @property
    def title(self) -> str:
        return f"durable events from {self.threads} threads, {self.each} in a transaction"

    @asynccontextmanager
    async def load(self, site: CallSite) -> AsyncIterator[Round]:
        """See Work.load()."""
        async with listening(site.receiver) as listener:
            with calling(site) as call:

                async def burst() -> Figure:
                    await listener.rest()
                    listener.received = 0
                    start = time.perf_counter()
                    await asyncio.to_thread(call, f"{self.calls} {self.threads} {self.each}")
                    lost = await listener.missing(self.calls)
                    return Figure(self.calls / (time.perf_counter() - start), lost)

                yield burst


@dataclass(frozen=True, slots=True)
class DurableLatency:
    """One thread commits an event at a time; the figure is the time from the commit to the arrival.

    Attributes:
        percentile: the one of all latencies.
        events: their number in a round.
    """

    percentile: int = 50
    events: int = 200
    unit: str = "ms"

    @property
    def title(self) -> str:
        return f"from the commit to the delivery, p{self.percentile}"

    @asynccontextmanager
    async def load(self, site: CallSite) -> AsyncIterator[Round]:
        """See Work.load()."""
        async with listening(site.receiver) as listener:
            with calling(site) as call:
                arrived: dict[int, float] = {}

                def take(payload: bytes) -> None:
                    arrived[number_of(payload)] = time.monotonic()
                    listener.received += 1

                listener.take = take  # type: ignore[method-assign]

                async def burst() -> Figure:
                    await listener.rest()
                    arrived.clear()
                    listener.received = 0
                    committed = json.loads(await asyncio.to_thread(call, f"{self.events}"))
                    lost = await listener.missing(self.events)
                    latencies = sorted(arrived[number] - at for number, at in enumerate(committed) if number in arrived)
                    place = math.ceil(len(latencies) * self.percentile / 100) - 1
                    return Figure(latencies[place] * 1000, lost)

                yield burst
