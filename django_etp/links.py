"""The ways from a hub to other processes: none, an in-memory layer, or a layer that spans processes."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Protocol

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from .cluster import ClusterLink, Host
from .conf import get_settings
from .confirmations import Confirmation
from .envelope import Foreign, Frame, Malformed, Message
from .inbox import read_channel

__all__ = ["Link", "open_link"]

logger = logging.getLogger(__name__)


class Link(Protocol):
    """A hub's way to other processes."""

    @property
    def peers(self) -> frozenset[str]:
        """The ids of the other hubs that live and have connections."""

    async def start(self) -> None:
        """Take the place of a hub with connections among the other processes' hubs."""

    def rest(self) -> None:
        """Have no connections any more."""

    async def stop(self) -> None:
        """Leave the place; it may be taken again."""

    async def join(self, group: str) -> None:
        """Hear what is sent to a group."""

    async def leave(self, group: str) -> None:
        """Hear a group no more."""

    def publish(self, groups: Iterable[str], frame: Frame) -> list[Confirmation]:
        """Send a frame to groups."""

    def publish_to_hub(self, hub: str, frame: Frame) -> list[Confirmation]:
        """Send a frame to one other hub."""

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """Ask one other hub, or all others, and return their answers by hub id."""


class LocalLink:
    """The way nowhere: rooms work within the process."""

    peers: frozenset[str] = frozenset()

    async def start(self) -> None:
        """There is nobody to meet."""

    def rest(self) -> None:
        """There is nobody to tell."""

    async def stop(self) -> None:
        """There is nothing to leave."""

    async def join(self, group: str) -> None:
        """There is nothing to hear."""

    async def leave(self, group: str) -> None:
        """There was nothing to hear."""

    def publish(self, groups: Iterable[str], frame: Frame) -> list[Confirmation]:
        """There is nobody to send to: local members have it."""
        return []

    def publish_to_hub(self, hub: str, frame: Frame) -> list[Confirmation]:
        """There is no other hub."""
        return []

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """There is nobody to ask."""
        return {}


class InMemoryLink(LocalLink):
    """The way to an ``InMemoryChannelLayer``, which is one process's by nature.

    A hub's own sends skip it, since it drops without a word at 100 messages; its groups are joined all the same, so
    that any Channels code can send to a room.
    """

    def __init__(self, host: Host, layer: BaseChannelLayer) -> None:
        self._host = host
        self._layer = layer
        self._channel = ""
        self._reader: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Stop reading."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            await asyncio.wait([reader])

    async def join(self, group: str) -> None:
        """Hear what other Channels code sends to a group. Reading begins with the first one."""
        if self._reader is None:
            self._channel = f"etp.{self._host.id}"
            reading = read_channel(self._layer, self._channel, self._take, lambda: None)
            self._reader = asyncio.get_running_loop().create_task(reading)
        await self._layer.group_add(group, self._channel)

    async def leave(self, group: str) -> None:
        """Hear a group no more."""
        await self._layer.group_discard(group, self._channel)

    def _take(self, message: Message) -> None:
        if not isinstance(message, Foreign):
            raise Malformed(f"only messages of type {Foreign.type!r} are expected here, got {message.type!r}")
        self._host.deliver_foreign(message)


def open_link(host: Host, *, is_serving: bool) -> Link:
    """Return the way to the channel layer that the settings name."""
    alias = get_settings().channel_layer
    if alias not in channel_layers:
        return LocalLink()
    layer = channel_layers[alias]
    if isinstance(layer, InMemoryChannelLayer):
        return InMemoryLink(host, layer)
    return ClusterLink(host, alias, is_serving=is_serving)
