"""Measure two sides in turn, in short bursts: a machine's speed drifts within seconds, ratios of neighbours do not.

Rules kept here:

- Both sides of a comparison are alive all the time; their bursts alternate, and their order flips each round.
- The result is the median of the figures, and the median of the rounds' ratios.
- Messages that were lost, came twice or came out of order in any round are counted.
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
    """The result of one burst.

    Attributes:
        value: in the unit of the work.
        wrong: the number of messages that were lost or came out of order.
        client: the share of the time in which the load client computed; not a number without a client.
        servers: the same for all processes of the server together; 0 if it does not matter.
    """

    value: float
    wrong: int = 0
    client: float = math.nan
    servers: float = 0.0

    @property
    def value_per_core(self) -> float:
        """The value if the servers had computed all the time, on one core."""
        return self.value / self.servers if self.servers else math.nan


Round = Callable[[], Awaitable[Figure]]


class Work(Protocol):
    """A task that a server does repeatedly.

    Attributes:
        title: its name in the table.
        unit: the unit of its figures.
    """

    @property
    def title(self) -> str: ...
    @property
    def unit(self) -> str: ...
    def load(self, site: Any) -> AbstractAsyncContextManager[Round]:
        """Connect to a site; each call of the function that the block gets does the work once."""


@dataclass(slots=True)
class Comparison:
    """The figures of two sides in the same rounds."""

    figures: list[Figure] = field(default_factory=list)
    other_figures: list[Figure] = field(default_factory=list)

    @property
    def figure(self) -> float:
        """The median of the first side."""
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
        """The same for the work per second of the servers' processor time, without the effect of other load."""
        return self._ratio(lambda figure: figure.value_per_core)

    def _ratio(self, value: Callable[[Figure], float]) -> float:
        pairs = [(value(one), value(other)) for one, other in zip(self.figures, self.other_figures, strict=True)]
        return statistics.median(one / other if other else math.nan for one, other in pairs)

    @property
    def wrong(self) -> int:
        """The number of messages that the first side lost or disordered in all rounds."""
        return sum(figure.wrong for figure in self.figures)

    @property
    def other_wrong(self) -> int:
        """The number of messages that the other side lost or disordered in all rounds."""
        return sum(figure.wrong for figure in self.other_figures)

    @property
    def client(self) -> float:
        """The load client's largest share of its core; not a number without a client."""
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
    """Measure elapsed time, and the processor time of this process and of others in it."""

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
