"""Work of a server process beside its connections; the packages that have such work register it."""

import asyncio
from typing import Protocol

from django_etp.hub.hub import Hub

__all__ = ["Companion", "register_companion", "start_companions", "stop_companions"]


class Companion(Protocol):
    """Work of a server process."""

    def start(self, hub: Hub) -> None:
        """Begin, unless it has begun; this is called for each connection."""

    async def stop(self) -> None:
        """End, within a bounded time; start() may follow."""


_companions: list[Companion] = []


def register_companion(companion: Companion) -> None:
    """Run this in server processes, from the first connection to the end of the server."""
    _companions.append(companion)


def start_companions(hub: Hub) -> None:
    """Begin what does not run yet."""
    for companion in _companions:
        companion.start(hub)


async def stop_companions() -> None:
    """End all, within a bounded time."""
    await asyncio.gather(*(companion.stop() for companion in _companions))
