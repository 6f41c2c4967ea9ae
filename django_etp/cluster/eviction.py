"""Evict expired nodes from the channel-layer groups, and notify those that turn out to live.

Rules kept here:

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
        self._cleaning: dict[str, asyncio.Task[None]] = {}

    def evict_expired(self, now: float) -> list[str]:
        """Begin to remove the nodes that have expired by now from the groups; return their hubs' ids."""
        expired = self._directory.expire(now)
        for beat in expired:
            logger.log(
                logging.WARNING if beat.is_serving else logging.INFO,
                "No heartbeat of hub %s for too long: its process seems dead, and is evicted from the rooms' groups.",
                beat.hub,
            )
            self._cleaning[beat.hub] = self._run(self._remove(beat))
        return [beat.hub for beat in expired]

    async def notify(self, hub: str) -> None:
        """Notify a node that sent a heartbeat after it had expired, once its removal has ended."""
        if cleaning := self._cleaning.get(hub):
            await asyncio.wait([cleaning])
        await self._transport.send_control(control_group(), pack(Evicted(hub)))

    def stop(self) -> None:
        """Forget the removals under way, whose tasks the caller has cancelled."""
        self._cleaning.clear()

    async def _remove(self, beat: Beat) -> None:
        try:
            for group in (control_group(), ask_group(beat.hub)):
                await self._transport.remove_control(group, beat.control_channel)
            for group in (hub_group(beat.hub), *self._shared()):
                if not self._directory.is_gone(beat.hub):
                    return
                await self._transport.remove_traffic(group, beat.channel)
        finally:
            self._cleaning.pop(beat.hub, None)
