"""Evict expired hubs from the channel-layer groups, and notify those that turn out to live.

Rules kept here:

- Only the groups that this hub shares with the dead can be cleaned; what only the dead was in stays until it expires.
- Who is heard of meanwhile is dead no more: the cleaning stops, and once it has, the hub is told to join again.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from .messages import ASK_PREFIX, CONTROL_GROUP, HUB_PREFIX, Beat, Evicted, pack
from .transport import Transport

__all__ = ["Eviction"]


class Eviction:
    """The dead that are being removed from the groups of one channel layer.

    Args:
        transport: the channel layer.
        shared: returns the groups of room traffic that this hub hears.
        is_expired: whether a hub is still taken for dead.
        run: starts a task.
    """

    def __init__(
        self,
        transport: Transport,
        shared: Callable[[], Iterable[str]],
        is_expired: Callable[[str], bool],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._transport = transport
        self._shared = shared
        self._is_expired = is_expired
        self._run = run
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def evict(self, beat: Beat) -> None:
        """Begin to remove a hub from the groups; ``beat`` is what it said last."""
        self._cleaning[beat.hub] = self._run(self._clean_up_after(beat))

    async def notify(self, hub: str) -> None:
        """Tell a hub that is heard of again that it was removed, once that has ended."""
        if cleaning := self._cleaning.get(hub):
            await asyncio.wait([cleaning])
        await self._transport.send_control(CONTROL_GROUP, pack(Evicted(hub)))

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
            await self._transport.remove_control(group, beat.control_channel)
        for group in (f"{HUB_PREFIX}{beat.hub}", *self._shared()):
            if not self._is_expired(beat.hub):
                return
            await self._transport.remove_traffic(group, beat.channel)
