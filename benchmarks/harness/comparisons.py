"""Short bursts of one and the other in turn: machines drift within seconds, and ratios of neighbours do not.

Rules kept here:

- Both sides of a comparison are alive all the time; their bursts alternate, and their order flips each round.
- What is told is the median of the figures, and the median of the rounds' ratios.
- What was lost, came twice or came out of order in any round is counted.
"""

import math
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from .servers import Process

__all__ = ["Comparison", "Figure", "Stopwatch", "Work", "compare"]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one burst gave.

    Attributes:
        value: in the unit of the work.
        wrong: how many messages were lost, or came out of order.
        client: the share of the time that the load client computed in; not a number where there is none.
        servers: the same of all the server's processes together; 0 where it does not matter.
    """

    value: float
    wrong: int = 0
    client: float = math.nan
    servers: float = 0.0

    @property
    def value_per_core(self) -> float:
        """What it would be if the servers had computed all the time, on one core."""
        return self.value / self.servers if self.servers else math.nan


Round = Callable[[], Awaitable[Figure]]


class Work(Protocol):
    """Something to be done by a server, again and again.

    Attributes:
        title: what it is.
        unit: of its figures.
    """

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def load(self, site: Any) -> AbstractAsyncContextManager[Round]:
        """Connect to a site; what the block gets does the work once, each time it is called."""


@dataclass(slots=True)
class Comparison:
    """What two sides reached in the same rounds."""

    figures: list[Figure] = field(default_factory=list)
    other_figures: list[Figure] = field(default_factory=list)

    @property
    def figure(self) -> float:
        """The median of the one side."""
        return statistics.median(figure.value for figure in self.figures)

    @property
    def other_figure(self) -> float:
        """The median of the other side."""
        return statistics.median(figure.value for figure in self.other_figures)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return self._ratio(lambda figure: figure.value)

    @property
    def ratio_per_core(self) -> float:
        """The same of what the servers computed for it, whatever else took the machine's time meanwhile."""
        return self._ratio(lambda figure: figure.value_per_core)

    def _ratio(self, value: Callable[[Figure], float]) -> float:
        pairs = [(value(one), value(other)) for one, other in zip(self.figures, self.other_figures, strict=True)]
        return statistics.median(one / other if other else math.nan for one, other in pairs)

    @property
    def wrong(self) -> int:
        """How many messages the one side lost or disordered in all rounds."""
        return sum(figure.wrong for figure in self.figures)

    @property
    def other_wrong(self) -> int:
        """How many the other side did."""
        return sum(figure.wrong for figure in self.other_figures)

    @property
    def client(self) -> float:
        """The load client's largest share of its core; not a number where there is none."""
        return max(figure.client for figure in (*self.figures, *self.other_figures))


async def compare(one: Round, other: Round, rounds: int) -> Comparison:
    """Let two sides do the same work in turn, after one round that does not count."""
    comparison = Comparison()
    await one()
    await other()
    for number in range(rounds):
        sides = [(one, comparison.figures), (other, comparison.other_figures)]
        for side, figures in sides if number % 2 == 0 else reversed(sides):
            figures.append(await side())
    return comparison


class Stopwatch:
    """How long something took, and how much of that time this process and others computed."""

    def __init__(self, processes: Sequence[Process] = ()) -> None:
        self._processes = processes
        self.seconds = 0.0
        self.client = 0.0
        self.servers = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        start, client, servers = time.perf_counter(), time.process_time(), self._computed()
        yield
        self.seconds = time.perf_counter() - start
        self.client = (time.process_time() - client) / self.seconds
        self.servers = (self._computed() - servers) / self.seconds

    def _computed(self) -> float:
        return sum(process.seconds for process in self._processes)
