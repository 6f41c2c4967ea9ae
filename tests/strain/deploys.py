"""Rolling restarts with thousands of clients in rooms, while messages flow, on servers of each kind.

`make deploys` restarts two servers behind the nginx of docs/deployment.md one after the other, three times, prints the
figures, and exits with 1 if they do not hold: nobody waits for a new connection for more than 3 s, the handshakes of a
second are at most twice those of an even drain of one process, and a room with history loses nothing. The losses of a
room without history are printed.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.deploys import Deployment, deployed
from tests.support.servers import COMMANDS, SUPERVISORS

KINDS = [*COMMANDS, *SUPERVISORS]
MAX_ABSENCE = 3.0


@dataclass(frozen=True)
class Figures:
    """What the clients saw; `rate` is of handshakes per second."""

    kind: str
    reconnects: int
    median: float
    longest: float
    rate: int
    even_rate: float
    lost_with_history: int
    lost_without: int
    sent_without: int

    @property
    def hold(self) -> bool:
        return self.longest <= MAX_ABSENCE and self.rate <= 2 * self.even_rate and not self.lost_with_history

    def __str__(self) -> str:
        return (
            f"{self.kind:12} {self.reconnects:6,} reconnects, away for {self.median:.2f} s (median), "
            f"{self.longest:.2f} s (longest); up to {self.rate} handshakes a second, {self.even_rate:.0f} evenly; "
            f"lost with history {self.lost_with_history}, without {self.lost_without:,} of {self.sent_without:,} "
            f"deliveries: {'holds' if self.hold else 'DOES NOT HOLD'}"
        )


async def deploy(kind: str, clients: int, seconds: float, rounds: int, interval: float) -> Figures:
    """Restart both servers so many times, and count."""
    with tempfile.TemporaryDirectory(prefix="etp-deploys-") as directory:
        async with deployed(Path(directory), [kind] * 2, clients, drain_seconds=seconds) as deployment:
            deployment.start_sending(interval)
            rate = 0
            for _ in range(rounds):
                for port in deployment.servers:
                    begun_at = time.monotonic()
                    await deployment.restart(port)
                    await deployment.all_are_back()
                    rate = max(rate, deployment.most_handshakes(1.0, begun_at))
            last = await deployment.stop_sending()
            return count(kind, deployment, last, rate, clients / seconds)


def count(kind: str, deployment: Deployment, last: int, rate: int, even_rate: float) -> Figures:
    absences = sorted(absence for visitor in deployment.visitors for absence in visitor.absences)
    expected = {
        room: sum(last + 1 - visitor.heard[room][0] for visitor in deployment.visitors) for room in ("record", "hall")
    }
    arrived = {room: sum(len(set(visitor.heard[room])) for visitor in deployment.visitors) for room in expected}
    return Figures(
        kind,
        len(absences),
        absences[len(absences) // 2],
        absences[-1],
        rate,
        even_rate,
        expected["record"] - arrived["record"],
        expected["hall"] - arrived["hall"],
        expected["hall"],
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="make deploys", description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="only servers of this kind; may be repeated")
    parser.add_argument("--clients", type=int, default=2000, help="2000 by default")
    parser.add_argument("--seconds", type=float, default=20.0, help="DRAIN_SECONDS, 20 by default")
    parser.add_argument("--rounds", type=int, default=3, help="how often both servers are restarted, 3 by default")
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between two messages, 5 by default")
    options = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 8 * options.clients)), hard))
    holds = True
    for kind in options.kind or KINDS:
        figures = asyncio.run(deploy(kind, options.clients, options.seconds, options.rounds, options.interval))
        print(figures, flush=True)
        holds = holds and figures.hold
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
