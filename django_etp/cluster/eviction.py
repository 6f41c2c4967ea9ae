"""Evict expired nodes from the channel-layer groups, and notify those that turn out to live.

Rules kept here:

- A node stays in the groups for as long as the layer keeps messages for it: it may only stand still, or be cut off, and
  reads them when it goes on.
- Only the groups that this node shares with an expired one can be cleaned; in groups that only the expired node had
  joined its channel stays until the layer's own expiry.
- A node that sends a heartbeat meanwhile is expired no more: the cleaning stops, and once it has, the node is notified,
  so that it joins its groups again.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from django_etp.conf.layer_names import ask_group, control_group, hub_group

from .directory import Directory
from .messages import Beat, Evicted, pack
from .transport import Transport

__all__ = ["Eviction"]

logger = logging.getLogger(__name__)


class Eviction:
    """The expired nodes that are being removed from the groups of one channel layer.

    Args:
        transport: the channel layer.
        directory: the other nodes.
        shared: returns the groups of room traffic that this node has joined.
        run: starts a task.
    """

    def __init__(
        self,
        transport: Transport,
        directory: Directory,
        shared: Callable[[], Iterable[str]],
        run: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
    ) -> None:
        self._transport = transport
        self._directory = directory
        self._shared = shared
        self._run = run
        self._waiting: dict[str, tuple[Beat, float]] = {}  # with the time to remove them, those first that are first
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def evict_expired(self, now: float) -> list[str]:
        """Begin to evict the nodes that have expired by now; return their hubs' ids."""
        expired = self._directory.expire(now)
        for beat in expired:
            logger.log(
                logging.WARNING if beat.is_serving else logging.INFO,
                "No heartbeat of hub %s for too long: its process seems dead, and is evicted. Its members do not count "
                "any more; it leaves the rooms' groups once the channel layer keeps no messages for it.",
                beat.hub,
            )
            self._waiting[beat.hub] = beat, now + self._transport.expiry
        for hub, (beat, due_at) in tuple(self._waiting.items()):
            if now >= due_at:
                del self._waiting[hub]
                self._cleaning[hub] = self._run(self._remove(beat))
        return [beat.hub for beat in expired]

    def end(self, hub: str) -> None:
        """Keep a node that sent a heartbeat after it had expired; notify it if it may have left groups."""
        if self._waiting.pop(hub, None) is None:
            self._run(self._notify(hub))

    async def _notify(self, hub: str) -> None:
        if cleaning := self._cleaning.get(hub):
            await asyncio.wait([cleaning])
        await self._transport.send_control(control_group(), pack(Evicted(hub)))

    def stop(self) -> None:
        """Forget the removals that wait, and those under way, whose tasks the caller has cancelled."""
        self._waiting.clear()
        self._cleaning.clear()

    async def _remove(self, beat: Beat) -> None:
        try:
            for group in (control_group(), ask_group(beat.hub)):
                await self._transport.remove_control(group, beat.control_channel)
            for group in (hub_group(beat.hub), *self._shared()):
                if self._directory.knows(beat.hub):
                    return
                await self._transport.remove_traffic(group, beat.channel)
        finally:
            self._cleaning.pop(beat.hub, None)
