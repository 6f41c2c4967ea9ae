"""A channel layer as one node uses it: objects that are opened, read and renewed together.

Rules kept here:

- Room traffic and control messages have an object each, so that an overflow of one does not starve the other; sends
  have a third, so that they do not wait behind joins.
- Every call has a time limit.
- A channel is read until its objects are closed, whatever its reader meets.
- Each object is closed: no task and no connection to the broker stays behind.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

from channels.layers import channel_layers

from django_etp.concurrency.tasks import end_tasks
from django_etp.conf.layer_names import channel_prefix
from django_etp.exceptions import LayerUnavailable

from .kinds import confirms_joins, has_one_server, is_pubsub
from .messages import Message
from .probes import Probes
from .reader import Backlog, keep_running, read_channel

__all__ = ["Reading", "Transport"]

logger = logging.getLogger(__name__)

_CALL_LIMIT = 3.0
_CLOSE_LIMIT = 1.0
_SLOWEST_ROUND = 600.0
# A node's own messages go through one server of a layer: if another server forgets its groups, nothing shows it.
_SLOWEST_ROUND_IF_SPREAD = 30.0


@dataclass(frozen=True, slots=True)
class Reading:
    """The callbacks for one channel: ``take`` gets each message, ``failed`` is called when reading raises."""

    take: Callable[[Message], None]
    failed: Callable[[], None]


class Transport:
    """Three objects of one channel layer, and the channels that are read; all can be renewed.

    Args:
        alias: the layer in ``CHANNEL_LAYERS``.
    """

    def __init__(self, alias: str) -> None:
        self._alias = alias
        self._objects = _Objects(alias)
        self._control: Reading | None = None
        self._traffic: Reading | None = None

    @property
    def traffic_channel(self) -> str:
        """The channel for room traffic; ``""`` until it is read."""
        return self._objects.traffic_channel

    @property
    def control_channel(self) -> str:
        """The channel for control messages; ``""`` until it is read."""
        return self._objects.control_channel

    @property
    def rejoin_interval(self) -> float:
        """How often to join all groups again, in seconds: the layer may forget them."""
        layer = self._objects.sending
        hosts = getattr(layer, "hosts", None)
        is_spread = isinstance(hosts, list) and len(hosts) > 1
        slowest = _SLOWEST_ROUND_IF_SPREAD if is_spread else _SLOWEST_ROUND
        expiry = getattr(layer, "group_expiry", None)
        return min(expiry / 4, slowest) if isinstance(expiry, int | float) and expiry > 0 else slowest

    @property
    def keeps_messages(self) -> bool:
        """Whether messages wait in the broker until a channel is read: to renew the channel loses them."""
        return not is_pubsub(self._objects.traffic)

    @property
    def expiry(self) -> float:
        """For how many seconds the layer keeps messages for a process that does not read; 0 if it keeps none."""
        expiry = getattr(self._objects.sending, "expiry", None)
        return float(expiry) if isinstance(expiry, int | float) and expiry > 0 else 0.0

    # Beginning and end

    async def open(self, control: Reading, traffic: Reading | None) -> None:
        """Read the channel for control messages, and the one for room traffic, unless they are read already."""
        self._control, self._traffic = control, traffic
        await self._objects.open(control, traffic)

    async def renew(self) -> tuple[str, str]:
        """Go on with new objects; return the channels for room traffic and control that were read until now.

        If the new ones cannot be opened, the old ones stay.
        """
        objects = _Objects(self._alias)
        try:
            if self._control is not None:
                await objects.open(self._control, self._traffic)
        except BaseException:
            await objects.close()
            raise
        old, self._objects = self._objects, objects
        channels = old.traffic_channel, old.control_channel
        await old.close()
        return channels

    async def close(self) -> None:
        """Close all objects, within a bounded time. A later send opens connections of its own."""
        old, self._objects = self._objects, _Objects(self._alias)
        await old.close()

    # Groups

    async def add_traffic(self, group: str) -> None:
        """Join a group with the channel for room traffic."""
        self._refuse_unopened(self.traffic_channel)
        await self._objects.traffic.group_add(group, self.traffic_channel)

    async def discard_traffic(self, group: str) -> None:
        """Leave a group with the channel for room traffic; the caller sets the limit."""
        if channel := self.traffic_channel:
            await self._objects.traffic.group_discard(group, channel)

    async def remove_traffic(self, group: str, channel: str) -> None:
        """Remove any node's channel for room traffic from a group."""
        if channel:
            async with asyncio.timeout(_CALL_LIMIT):
                await self._objects.traffic.group_discard(group, channel)

    async def add_control(self, group: str) -> None:
        """Join a group with the channel for control messages."""
        self._refuse_unopened(self.control_channel)
        await self._objects.control.group_add(group, self.control_channel)

    async def discard_control(self, group: str) -> None:
        """Leave a group with the channel for control messages; the caller sets the limit."""
        if channel := self.control_channel:
            await self._objects.control.group_discard(group, channel)

    async def remove_control(self, group: str, channel: str) -> None:
        """Remove any node's channel for control messages from a group."""
        if channel:
            async with asyncio.timeout(_CALL_LIMIT):
                await self._objects.control.group_discard(group, channel)

    def _refuse_unopened(self, channel: str) -> None:
        if not channel:
            raise LayerUnavailable(f"The channel layer {self._alias!r} could not be opened yet.")

    @property
    def confirms_joins(self) -> bool:
        """Whether a join has reached the broker once it returns; else prove_joins() proves it."""
        return confirms_joins(self._objects.traffic)

    async def prove_joins(self, groups: Collection[str]) -> None:
        """Return once the broker has executed the joins of room traffic of these groups. See Probes.prove()."""
        self._refuse_unopened(self.traffic_channel)
        await self._objects.probes.prove(groups)

    # Sending

    async def send(self, group: str, message: dict[str, Any]) -> None:
        """Send to a group, behind this process's earlier sends to rooms; the caller sets the limit."""
        await self._objects.sending.group_send(group, message)

    async def send_control(self, group: str, message: dict[str, Any]) -> None:
        """Send to a control group, without a wait behind room traffic."""
        async with asyncio.timeout(_CALL_LIMIT):
            await self._objects.control.group_send(group, message)


class _Objects:
    """The three objects of a layer, which are opened and closed together."""

    def __init__(self, alias: str) -> None:
        self.sending, self.traffic, self.control = (channel_layers.make_backend(alias) for _ in "123")
        self.traffic_channel = self.control_channel = ""
        self.probes = Probes(
            self._add, self._discard, self._send, in_order=is_pubsub(self.traffic) and has_one_server(alias)
        )
        self._alias = alias
        self._opening = asyncio.Lock()
        self._readers: list[asyncio.Task[None]] = []

    async def open(self, control: Reading, traffic: Reading | None) -> None:
        async with asyncio.timeout(_CALL_LIMIT), self._opening:
            if not self.control_channel:
                self.control_channel = await self.control.new_channel(channel_prefix())
                self._run(partial(read_channel, self.control, self.control_channel, control.take, control.failed))
        if traffic is None:
            return
        async with asyncio.timeout(_CALL_LIMIT), self._opening:
            if not self.traffic_channel:
                self.traffic_channel = await self.traffic.new_channel(channel_prefix())
                backlog = Backlog(traffic.take)
                take = partial(self._take, backlog.put)
                self._run(partial(read_channel, self.traffic, self.traffic_channel, take, traffic.failed))
                self._run(backlog.give)

    async def close(self) -> None:
        readers, self._readers = self._readers, []
        self.traffic_channel = self.control_channel = ""  # at once: no call begins any more
        await end_tasks(readers, _CLOSE_LIMIT)
        await asyncio.gather(*(_close(layer) for layer in (self.sending, self.traffic, self.control)))

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._readers.append(asyncio.get_running_loop().create_task(keep_running(work)))

    def _take(self, put: Callable[[Message], None], message: Message) -> None:
        if not self.probes.take(message):
            put(message)

    # For the probes: once the objects are closed, a call would open connections again.

    async def _add(self, group: str) -> None:
        await self.traffic.group_add(group, self._open_channel())

    async def _discard(self, group: str) -> None:
        await self.traffic.group_discard(group, self._open_channel())

    async def _send(self, group: str, message: dict[str, Any]) -> None:
        self._open_channel()
        async with asyncio.timeout(_CALL_LIMIT):
            await self.control.group_send(group, message)

    def _open_channel(self) -> str:
        if not self.traffic_channel:
            raise LayerUnavailable(f"The channel layer {self._alias!r} was closed.")
        return self.traffic_channel


async def _close(layer: Any) -> None:
    kind = type(layer)
    if hasattr(kind, "close_pools"):
        close = layer.close_pools()
    elif kind.__module__ == "channels_redis.pubsub":
        # This one closes its connections with flush() and deletes nothing. Others would delete the messages of all.
        close = layer.flush()
    else:
        return
    try:
        async with asyncio.timeout(_CLOSE_LIMIT):
            await close
    except Exception as error:
        logger.debug("A channel layer could not be closed: %r", error)
