"""The ways from a hub to other processes: none, an in-memory layer, or a layer that spans processes."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from django_etp.concurrency.confirmations import Confirmation
from django_etp.conf import get_settings

from .host import Host
from .messages import Foreign, Frame, Malformed, Message
from .node import Node
from .reader import read_channel

__all__ = ["Link", "open_link"]

logger = logging.getLogger(__name__)

# How often the groups of an in-memory layer are joined again, in seconds.
_ROUND = 60.0


class Link(Protocol):
    """A hub's way to other processes."""

    @property
    def others(self) -> frozenset[str]:
        """The ids of the other hubs that live and have connections."""

    @property
    def knows_others(self) -> bool:
        """Whether ``others`` holds all other hubs that live, as far as can be known."""

    async def start(self) -> None:
        """Take the place of a hub with connections among the other processes' hubs."""

    def stop_serving(self) -> None:
        """Have no connections any more."""

    async def stop(self) -> None:
        """Leave the place; it may be taken again."""

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Hear what is sent to a group, from this call on; what is returned waits until that is sure."""

    async def leave(self, group: str) -> None:
        """Hear a group no more."""

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Send a frame to groups."""

    def publish_to_hub(self, hub: str, frame: Frame) -> list[Confirmation]:
        """Send a frame to one other hub."""

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """Ask one other hub, or all others, and return their answers by hub id."""


class LocalLink:
    """The way nowhere: rooms work within the process."""

    others: frozenset[str] = frozenset()
    knows_others = True

    async def start(self) -> None:
        """There is nobody to meet."""

    def stop_serving(self) -> None:
        """There is nobody to tell."""

    async def stop(self) -> None:
        """There is nothing to leave."""

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """There is nothing to hear."""
        return _do_nothing()

    async def leave(self, group: str) -> None:
        """There was nothing to hear."""

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
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
    that any Channels code can send to a room. They are joined again each minute: it forgets a group's members after a
    day, and those of a channel where a message grew old.
    """

    def __init__(self, host: Host, layer: BaseChannelLayer) -> None:
        self._host = host
        self._layer = layer
        self._channel = f"etp.{host.id}"
        self._groups: dict[str, None] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def stop(self) -> None:
        """Stop reading."""
        tasks, self._tasks = self._tasks, []
        if tasks:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Hear what other Channels code sends to a group. Reading begins with the first one."""
        if not self._tasks:
            reading = read_channel(self._layer, self._channel, self._take, lambda: None)
            self._tasks = [asyncio.get_running_loop().create_task(each) for each in (reading, self._join_again())]
        self._groups[group] = None
        return self._join(group)

    async def leave(self, group: str) -> None:
        """Hear a group no more."""
        self._groups.pop(group, None)
        await self._layer.group_discard(group, self._channel)

    async def _join(self, group: str) -> None:
        if group in self._groups:  # else it was left meanwhile
            await self._layer.group_add(group, self._channel)

    async def _join_again(self) -> None:
        while True:
            await asyncio.sleep(_ROUND)
            for group in tuple(self._groups):
                await self._join(group)
                await asyncio.sleep(0)

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
    return Node(host, alias, is_serving=is_serving)


async def _do_nothing() -> None:
    pass
