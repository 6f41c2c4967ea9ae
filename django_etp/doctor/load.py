"""Many connections at a time: how fast they are accepted, how long their pings take, and how many are lost."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from django_etp.client.probe import Probe, Refusal
from django_etp.exceptions import AckTimeout, ConnectionClosed

from .findings import Finding, failure, ok
from .target import Target

__all__ = ["MOST_CONNECTIONS", "check_load", "percentile"]

MOST_CONNECTIONS = 20_000
# How many handshakes are under way at a time, and how many connections are closed at a time.
_AT_ONCE = 50


@dataclass(slots=True)
class _Outcome:
    """The counts of a load."""

    opened: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    broken: int = 0
    unanswered: int = 0
    latencies: list[float] = field(default_factory=list)


async def check_load(
    target: Target, origin: str | None, connections: int, *, rounds: int = 5, interval: float = 0.5
) -> Finding:
    """Open connections, let each ping the server in some rounds, an interval of seconds apart, and close them."""
    expected = f"{connections:,} connections, and answers to {rounds} pings of each"
    outcome = _Outcome()
    turns = asyncio.Semaphore(_AT_ONCE)
    start = time.perf_counter()
    probes = await asyncio.gather(*(_open(target, origin, turns, outcome) for _ in range(connections)))
    rate = outcome.opened / (time.perf_counter() - start)
    opened = [probe for probe in probes if probe is not None]
    try:
        await asyncio.gather(
            *(
                _ping(probe, outcome, target.timeout, number / len(opened) * interval, rounds, interval)
                for number, probe in enumerate(opened)
            )
        )
    finally:
        await asyncio.gather(*(_close(probe, turns) for probe in opened))
    return _judge(expected, connections, rate, outcome)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest of some values that this share of them does not exceed; 0 if there is none."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)] if ordered else 0.0


async def _open(target: Target, origin: str | None, turns: asyncio.Semaphore, outcome: _Outcome) -> Probe | None:
    async with turns:
        opened = await target.open(origin)
    if isinstance(opened, Refusal):
        outcome.refusals[opened.text] += 1
        return None
    outcome.opened += 1
    return opened


async def _ping(probe: Probe, outcome: _Outcome, timeout: float, delay: float, rounds: int, interval: float) -> None:
    """Ping in rounds. Each connection has its own moment of an interval, so that the pings do not come all at once."""
    begins_at = time.monotonic() + delay
    for number in range(rounds):
        await asyncio.sleep(begins_at + number * interval - time.monotonic())
        try:
            outcome.latencies.append(await probe.ping(timeout))
        except AckTimeout:
            outcome.unanswered += 1
        except ConnectionClosed:
            outcome.broken += 1
            return


async def _close(probe: Probe, turns: asyncio.Semaphore) -> None:
    async with turns:
        await probe.close()


def _judge(expected: str, connections: int, rate: float, outcome: _Outcome) -> Finding:
    latencies = {name: round(percentile(outcome.latencies, share) * 1000, 2) for name, share in _SHARES.items()}
    figures = {
        "connections": connections,
        "opened": outcome.opened,
        "per_second": round(rate, 1),
        "answers": len(outcome.latencies),
        "unanswered": outcome.unanswered,
        "broken": outcome.broken,
        "milliseconds": latencies,
    }
    lost = outcome.unanswered + outcome.broken + connections - outcome.opened
    came = (
        f"{outcome.opened:,} connections, {rate:,.0f} a second; {len(outcome.latencies):,} answers, {lost:,} losses; "
        f"latency {', '.join(f'{name} {value:,.1f} ms' for name, value in latencies.items())}"
    )
    if not lost:
        return ok("load", expected, came, **figures)
    reasons = [f"{count:,} were refused: {text}" for text, count in outcome.refusals.most_common(3)]
    if outcome.broken:
        reasons.append(f"{outcome.broken:,} connections broke")
    if outcome.unanswered:
        reasons.append(f"{outcome.unanswered:,} pings were not answered in time")
    return failure(
        "load",
        expected,
        f"{came}; {'; '.join(reasons)}",
        "Look at the limits of open files (ulimit -n) of this command, the proxy and the servers, at the proxy's "
        "worker_connections, and at the load of the machines.",
        **figures,
    )


_SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
