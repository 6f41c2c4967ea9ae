"""The layer objects of one hub: opened together, read for as long as they serve, and given up together.

Rules kept here:

- Room traffic and control have an object each, so that an overflow of one does not starve the other; what is sent has a
  third, so that it does not wait behind joins.
- Every call has a limit in time.
- What was opened is closed: no task, no connection to the broker stays behind.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from channels.layers import channel_layers

from .envelope import Message
from .exceptions import LayerUnavailable
from .inbox import Backlog, read_channel
from .loops import end_tasks

__all__ = ["Layers"]

logger = logging.getLogger(__name__)

_CALL_LIMIT = 3.0
_CLOSE_LIMIT = 1.0

_Take = Callable[[Message], None]


class Layers:
    """Three objects of one channel layer, and the channels that are read.

    Args:
        alias: the layer in ``CHANNEL_LAYERS``.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._sending, self._traffic, self._control = (channel_layers.make_backend(alias) for _ in "123")
        self._readers: list[asyncio.Task[None]] = []
        self._opening = asyncio.Lock()
        self.traffic_channel = ""
        self.control_channel = ""

    @property
    def group_expiry(self) -> float | None:
        """After how many seconds the layer forgets who is in a group; ``None`` where it does not, or does not tell."""
        expiry = getattr(self._sending, "group_expiry", None)
        return expiry if isinstance(expiry, int | float) and expiry > 0 else None

    @property
    def is_spread(self) -> bool:
        """Whether the layer keeps its groups on several servers, one of which may forget its share alone."""
        hosts = getattr(self._sending, "hosts", None)
        return isinstance(hosts, list) and len(hosts) > 1

    # Hearing

    async def open_control(self, take: _Take, failed: Callable[[], None]) -> None:
        """Read the channel for messages between hubs, unless it is read already; ``failed``: see read_channel()."""
        async with asyncio.timeout(_CALL_LIMIT), self._opening:
            if not self.control_channel:
                self.control_channel = await self._control.new_channel("etp")
                self._read(self._control, self.control_channel, take, failed)

    async def open_traffic(self, take: _Take, failed: Callable[[], None]) -> None:
        """Read the channel for room traffic. See open_control()."""
        async with asyncio.timeout(_CALL_LIMIT), self._opening:
            if not self.traffic_channel:
                self.traffic_channel = await self._traffic.new_channel("etp")
                backlog = Backlog(take)
                self._read(self._traffic, self.traffic_channel, backlog.put, failed)
                self._readers.append(asyncio.get_running_loop().create_task(backlog.give()))

    async def add_traffic(self, group: str) -> None:
        """Hear a group's room traffic."""
        self._refuse_unopened(self.traffic_channel)
        await self._traffic.group_add(group, self.traffic_channel)

    async def discard_traffic(self, group: str) -> None:
        """Hear a group's room traffic no more."""
        await self.remove_traffic(group, self.traffic_channel)

    async def remove_traffic(self, group: str, channel: str) -> None:
        """Remove a channel of room traffic from a group, whosever it is."""
        if channel:
            await self._traffic.group_discard(group, channel)

    async def add_control(self, group: str) -> None:
        """Hear a control group."""
        self._refuse_unopened(self.control_channel)
        await self._control.group_add(group, self.control_channel)

    async def discard_control(self, group: str) -> None:
        """Hear a control group no more."""
        await self.remove_control(group, self.control_channel)

    async def remove_control(self, group: str, channel: str) -> None:
        """Remove a control channel from a group, whosever it is."""
        if channel:
            await self._control.group_discard(group, channel)

    # Sending

    async def send(self, group: str, message: dict[str, Any]) -> None:
        """Send to a group of rooms' traffic; the caller sets the limit."""
        await self._sending.group_send(group, message)

    async def tell(self, group: str, message: dict[str, Any]) -> None:
        """Send to a control group."""
        async with asyncio.timeout(_CALL_LIMIT):
            await self._control.group_send(group, message)

    # The end

    async def close(self) -> None:
        """Give all up, within a bounded time. What is sent nevertheless opens connections of its own."""
        readers, self._readers = self._readers, []
        await end_tasks(readers, _CLOSE_LIMIT)
        self.traffic_channel = self.control_channel = ""
        await asyncio.gather(*(_close(layer) for layer in (self._sending, self._traffic, self._control)))

    def _read(self, layer: Any, channel: str, take: _Take, failed: Callable[[], None]) -> None:
        reading = read_channel(layer, channel, take, failed)
        self._readers.append(asyncio.get_running_loop().create_task(reading))

    def _refuse_unopened(self, channel: str) -> None:
        if not channel:
            raise LayerUnavailable(f"The channel layer {self._alias!r} could not be opened yet.")


async def _close(layer: Any) -> None:
    kind = type(layer)
    if hasattr(kind, "close_pools"):
        close = layer.close_pools()
    elif kind.__module__ == "channels_redis.pubsub":
        # This one closes its connections with flush() and deletes nothing. Others would delete everybody's messages.
        close = layer.flush()
    else:
        return
    try:
        async with asyncio.timeout(_CLOSE_LIMIT):
            await close
    except Exception as error:
        logger.debug("A channel layer could not be closed: %r", error)
