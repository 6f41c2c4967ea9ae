"""The way between a hub and the Django channel layer.

With ``InMemoryChannelLayer`` there is one process by nature: a hub's own sends never go through it, but its groups are
joined all the same, so that any Channels code can send to a room's group.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import BaseChannelLayer, channel_layers

from .conf import get_settings

__all__ = ["LayerLink", "open_link"]

logger = logging.getLogger(__name__)

_EMIT = "etp.emit"


class LayerLink:
    """A hub's place in no channel layer at all: rooms work within the process."""

    async def join(self, group: str) -> None:
        """Hear what is sent to a group."""

    async def leave(self, group: str) -> None:
        """Hear a group no more."""


class InMemoryLink(LayerLink):
    """A hub's place in an ``InMemoryChannelLayer``."""

    def __init__(self, layer: BaseChannelLayer, receive: Callable[[dict[str, Any]], None]) -> None:
        self._layer = layer
        self._receive = receive
        self._channel: str | None = None
        self._reader: asyncio.Task[None] | None = None

    async def join(self, group: str) -> None:
        """Hear what is sent to a group. The reader starts with the first one."""
        if self._channel is None:
            self._channel = await self._layer.new_channel("etp")
            self._reader = asyncio.get_running_loop().create_task(self._read(self._channel))
        await self._layer.group_add(group, self._channel)

    async def leave(self, group: str) -> None:
        """Hear a group no more."""
        if self._channel is not None:
            await self._layer.group_discard(group, self._channel)

    async def _read(self, channel: str) -> None:
        while True:
            message = await self._layer.receive(channel)
            if message.get("type") == _EMIT:
                self._receive(message)
            else:
                logger.warning(
                    "A message of type %.80r on a room's group was ignored: expected %r.", message.get("type"), _EMIT
                )


def open_link(receive: Callable[[dict[str, Any]], None]) -> LayerLink:
    """Return the way to the configured channel layer; ``receive`` gets what other Channels code sends to rooms."""
    alias = get_settings().channel_layer
    if alias not in channel_layers:
        return LayerLink()
    return InMemoryLink(channel_layers[alias], receive)
