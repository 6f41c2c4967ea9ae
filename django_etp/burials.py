"""What a hub does about hubs that are taken for dead: it removes them from the groups, and tells those that were not.

Rules kept here:

- Only the groups that this hub shares with the dead can be cleaned; what only the dead was in stays until it expires.
- Who is heard of meanwhile is dead no more: the cleaning stops, and once it has, the hub is told to join again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from .envelope import ASK_PREFIX, CONTROL_GROUP, HUB_PREFIX, Beat, Buried, pack
from .layers import Layers

__all__ = ["Burials"]


class Burials:
    """The dead that are being removed from the groups of one channel layer.

    Args:
        layers: the channel layer.
        shared: returns the groups of room traffic that this hub hears.
        is_dead: whether a hub is still taken for dead.
        run: starts a task.
    """

    def __init__(
        self,
        layers: Layers,
        shared: Callable[[], Iterable[str]],
        is_dead: Callable[[str], bool],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._layers = layers
        self._shared = shared
        self._is_dead = is_dead
        self._run = run
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def bury(self, beat: Beat) -> None:
        """Begin to remove a hub from the groups; ``beat`` is what it said last."""
        self._cleaning[beat.hub] = self._run(self._clean_up_after(beat))

    async def tell(self, hub: str) -> None:
        """Tell a hub that is heard of again that it was removed, once that has ended."""
        if cleaning := self._cleaning.get(hub):
            await asyncio.wait([cleaning])
        await self._layers.tell(CONTROL_GROUP, pack(Buried(hub)))

    def stop(self) -> None:
        """Forget those under way, which whoever ran them has cancelled."""
        self._cleaning.clear()

    async def _clean_up_after(self, beat: Beat) -> None:
        try:
            await self._remove_everywhere(beat)
        finally:
            self._cleaning.pop(beat.hub, None)

    async def _remove_everywhere(self, beat: Beat) -> None:
        for group in (CONTROL_GROUP, f"{ASK_PREFIX}{beat.hub}"):
            await self._layers.remove_control(group, beat.control_channel)
        for group in (f"{HUB_PREFIX}{beat.hub}", *self._shared()):
            if not self._is_dead(beat.hub):
                return
            await self._layers.remove_traffic(group, beat.channel)
