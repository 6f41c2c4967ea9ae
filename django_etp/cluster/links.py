"""Links from a hub to other processes: none, over an in-memory layer, or over a layer that spans processes."""

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any, Protocol

from channels.layers import BaseChannelLayer, InMemoryChannelLayer, channel_layers

from django_etp.concurrency.confirmations import Confirmation
from django_etp.conf import get_settings
from django_etp.conf.layer_names import channel_prefix

from .host import Host
from .load import Load
from .messages import Foreign, Frame, Malformed, Message
from .node import Node
from .reader import keep_running, read_channel

__all__ = ["Link", "open_link"]

logger = logging.getLogger(__name__)

# How often the groups of an in-memory layer are joined again, in seconds.
_ROUND = 60.0


class Link(Protocol):
    """A hub's connection to the other processes."""

    @property
    def others(self) -> frozenset[str]:
        """The ids of the other hubs that live and have connections."""

    @property
    def knows_others(self) -> bool:
        """Whether ``others`` holds all other hubs that live, as far as this process can know."""

    def unheard_of(self, hubs: frozenset[str]) -> frozenset[str]:
        """Return those of these hubs that may live, although this process has not heard of them yet."""

    def load(self) -> Load:
        """Return what waits for the channel layer, and how fast that is."""

    async def start(self) -> None:
        """Announce to the other hubs that this one has connections."""

    def stop_serving(self) -> None:
        """Announce that the hub has no connections any more."""

    async def stop(self) -> None:
        """Stop; the link may start again."""

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Receive messages to a group, from this call on; the returned coroutine waits until that is certain."""

    async def leave(self, group: str) -> None:
        """Receive no more messages to a group."""

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Send a frame to groups; return a confirmation for each send."""

    def publish_to_hub(self, hub: str, frame: Frame) -> list[Confirmation]:
        """Send a frame to one other hub; return a confirmation for each send."""

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """Query one other hub, or all others, and return their results by hub id."""


class LocalLink:
    """No-op link: one process, no channel layer."""

    others: frozenset[str] = frozenset()
    knows_others = True

    def unheard_of(self, hubs: frozenset[str]) -> frozenset[str]:
        """Return none: there are no other hubs."""
        return frozenset()

    def load(self) -> Load:
        """Return no load: there is no channel layer, or none that is used."""
        return Load()

    async def start(self) -> None:
        """Do nothing: there are no other hubs."""

    def stop_serving(self) -> None:
        """Do nothing: there are no other hubs."""

    async def stop(self) -> None:
        """Do nothing: nothing was started."""

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Do nothing: no messages arrive."""
        return _do_nothing()

    async def leave(self, group: str) -> None:
        """Do nothing: no messages arrived."""

    def publish(self, groups: Sequence[str], frame: Frame, *, beside: Sequence[str] = ()) -> list[Confirmation]:
        """Return no confirmations: all members are local, and have the frame."""
        return []

    def publish_to_hub(self, hub: str, frame: Frame) -> list[Confirmation]:
        """Return no confirmations: there is no other hub."""
        return []

    async def ask(self, hub: str | None, action: str, arguments: list[Any], timeout: float) -> dict[str, Any]:
        """Return no results: there is no other hub."""
        return {}


class InMemoryLink(LocalLink):
    """A link over an ``InMemoryChannelLayer``, which belongs to one process by nature.

    A hub's own sends skip it, since the layer silently drops messages once 100 are queued; the groups are joined all
    the same, so that any Channels code can send to a room. They are joined again each minute: the layer forgets a
    group's members after a day, and removes a channel from all groups when one of its messages has expired.
    """

    def __init__(self, host: Host, layer: BaseChannelLayer) -> None:
        self._host = host
        self._layer = layer
        self._channel = f"{channel_prefix()}.{host.id}"
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
        """Receive messages of other Channels code to a group. Reading begins with the first group."""
        if not self._tasks:
            reading = partial(read_channel, self._layer, self._channel, self._take, lambda: None)
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(keep_running(work)) for work in (reading, self._join_again)]
        self._groups[group] = None
        return self._join(group)

    async def leave(self, group: str) -> None:
        """Leave a group."""
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
    """Return a link over the channel layer that the settings name."""
    alias = get_settings().channel_layer
    if alias not in channel_layers:
        return LocalLink()
    layer = channel_layers[alias]
    if isinstance(layer, InMemoryChannelLayer):
        return InMemoryLink(host, layer)
    return Node(host, alias, is_serving=is_serving)


async def _do_nothing() -> None:
    pass
