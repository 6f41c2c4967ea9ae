"""The query for the facts of all processes that a channel layer reaches."""

from dataclasses import astuple, dataclass
from typing import Any

from django_etp.hub.hub import Hub
from django_etp.hub.queries import HubQuery, register_query

from .facts import ProcessFacts, facts_of_process

__all__ = ["DescribeProcesses"]


@register_query("doctor")
@dataclass(frozen=True, slots=True)
class DescribeProcesses(HubQuery[list[ProcessFacts]]):
    """Ask all processes for their facts; ``nonce`` is a random text, which their fingerprints depend on."""

    nonce: str

    async def reply(self, hub: Hub) -> list[Any]:
        """Return the facts of this process."""
        return list(astuple(facts_of_process(hub, self.nonce)))

    def merge(self, replies: list[list[Any]]) -> list[ProcessFacts]:
        """Return the facts of all."""
        return [ProcessFacts(*reply[:7]) for reply in replies]
