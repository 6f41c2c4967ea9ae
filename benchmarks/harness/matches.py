"""Matches: two sides, their work, and the server or layer."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks.contenders import Contender

from .comparisons import Comparison, Work, compare
from .databases import is_installed
from .servers import PROGRAM
from .sites import CallSite, Stage

__all__ = ["Match", "Side"]


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a match: a contender, its work, and its servers.

    Attributes:
        twin: sides that differ only in this number have separate processes.
        database: the database with durable events, if the site has one; one of DATABASES.
        history: where histories are; see Stage.environment().
        caller: the call of a process without an event loop, if that is measured; see contenders/caller.py.
    """

    name: str
    work: Work
    contender: Contender
    server: str = "uvicorn"
    layer: str = "in memory"
    processes: int = 1
    twin: int = 0
    caller: str = ""
    database: str = ""
    history: str = ""

    @property
    def can_run(self) -> bool:
        """Whether all it needs is installed."""
        has_server = self.server == PROGRAM or find_spec(self.server) is not None
        return self.contender.is_installed and has_server and all(map(is_installed, (self.database, self.history)))

    def site(self, stage: Stage) -> Any:
        """Return the site that this side works on."""
        if self.caller == "publish":
            return CallSite(self.caller, stage.environment(self.layer), None)
        site = stage.site(
            self.contender,
            self.server,
            layer=self.layer,
            database=self.database,
            history=self.history,
            processes=self.processes,
            twin=self.twin,
            is_beside_client=bool(self.caller),
        )
        environment = stage.environment(self.layer, self.database, self.history)
        return CallSite(self.caller, environment, site) if self.caller else site


@dataclass(frozen=True, slots=True)
class Match:
    """Two sides whose figures are compared.

    Attributes:
        title: the name of its line in the table.
        where: the server and the layer.
        rounds: how many times both do their work.
    """

    title: str
    where: str
    one: Side
    other: Side
    rounds: int = 7

    @property
    def label(self) -> str:
        """The text that the option ``--only`` searches."""
        return f"{self.where}: {self.title}: {self.one.name} / {self.other.name}"

    @property
    def can_run(self) -> bool:
        """Whether all it needs is installed."""
        return self.one.can_run and self.other.can_run

    async def run(self, stage: Stage, rounds: int | None = None) -> Comparison:
        """Let the sides work in turn, for this number of rounds if it is given."""
        async with AsyncExitStack() as stack:
            one, other = [
                await stack.enter_async_context(side.work.load(side.site(stage))) for side in (self.one, self.other)
            ]
            return await compare(one, other, rounds or self.rounds)
