"""Ask all hubs whether they have received relayed events."""

from dataclasses import dataclass
from typing import Any

from django_etp.hub.hub import Hub
from django_etp.hub.queries import HubQuery, register_query

__all__ = ["FindMissed"]


@register_query("outbox_missed")
@dataclass(frozen=True, slots=True)
class FindMissed(HubQuery[frozenset[str]]):
    """Find the events, by their names, that a hub has not received although it has members of their rooms.

    ``groups`` are the groups of the rooms, one for each of the ``emissions``.
    """

    groups: tuple[str, ...]
    emissions: tuple[str, ...]

    async def reply(self, hub: Hub) -> list[str]:
        """See HubQuery.reply()."""
        return [
            emission
            for group, emission in zip(self.groups, self.emissions, strict=True)
            if hub.membership.room_of(group) is not None and not hub.emissions.has_relayed(emission)
        ]

    def merge(self, replies: list[Any]) -> frozenset[str]:
        """See HubQuery.merge()."""
        return frozenset(str(emission) for reply in replies for emission in reply or ())
