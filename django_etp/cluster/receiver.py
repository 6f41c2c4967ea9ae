"""The channels that one node reads, and the channel-layer groups that they are in.

Rules kept here:

- Room traffic and control messages have a channel each. A node that will have no connections has none for traffic.
- If the broker may have forgotten groups, all are joined again on the same channels. A group whose messages were lost
  is joined again by itself.
- If that does not help, the channels are renewed, and the old ones leave the groups that the broker may have kept.
- At the end all groups are left, within a bounded time.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from .messages import Message
from .subscriptions import Subscriptions
from .transport import Reading, Transport

__all__ = ["Receiver"]

_LEAVE_LIMIT = 1.0

_Take = Callable[[Message], None]


class Receiver:
    """The channels of one node, and their groups.

    Args:
        transport: the channel layer.
        control_groups: the node's own groups on its channel for control messages.
        traffic_group: its own group on its channel for room traffic; ``None`` if it receives no room traffic.
        take_control: takes each control message.
        take_traffic: takes each message of room traffic.
        joined: is called with a room's group each time the layer has confirmed a join.
    """

    def __init__(
        self,
        transport: Transport,
        control_groups: tuple[str, ...],
        traffic_group: str | None,
        take_control: _Take,
        take_traffic: _Take,
        joined: Callable[[str], None],
    ) -> None:
        self._transport = transport
        self._control_groups = control_groups
        self._traffic_group = traffic_group
        self._control = Subscriptions(transport.add_control, transport.discard_control, lambda group: None)
        prove = None if transport.confirms_joins else transport.prove_joins
        self._traffic = Subscriptions(transport.add_traffic, transport.discard_traffic, joined, prove)
        self._control_reading = Reading(take_control, self._control.join_again)
        self._traffic_reading = None if traffic_group is None else Reading(take_traffic, self._traffic.join_again)

    @property
    def traffic_groups(self) -> tuple[str, ...]:
        """The groups of room traffic that the node has joined, or is about to."""
        return self._traffic.wanted

    @property
    def keeps_messages(self) -> bool:
        """Whether messages wait in the broker until a channel is read. See Transport.keeps_messages."""
        return self._transport.keeps_messages

    def want_own_groups(self) -> None:
        """Want the node's own groups: the next call that joins groups again joins these, too."""
        self._control.want(*self._control_groups)
        if self._traffic_group is not None:
            self._traffic.want(self._traffic_group)

    async def begin(self) -> None:
        """Read the channels, and join the node's own groups."""
        await self.open()
        await asyncio.gather(*(self._control.join(group) for group in self._control_groups))
        if self._traffic_group is not None:
            await self._traffic.join(self._traffic_group)

    async def open(self) -> None:
        """Read the channels, unless they are read already."""
        await self._transport.open(self._control_reading, self._traffic_reading)

    def join(self, group: str) -> Coroutine[Any, Any, None]:
        """Join a room's group. See Subscriptions.join()."""
        return self._traffic.join(group)

    def leave(self, group: str) -> None:
        """Leave a room's group. See Subscriptions.leave()."""
        self._traffic.leave(group)

    def join_group_again(self, group: str) -> None:
        """Join a room's group again: messages to it were lost, and the broker may have evicted it."""
        self._traffic.join_again(group)

    def join_control_again(self) -> None:
        """Join the control groups again: the broker may have forgotten them. Does nothing until the channel is read."""
        if self._transport.control_channel:  # else begin(), or the healing, is about to open it and to join them
            self._control.join_again()

    def join_again(self) -> None:
        """Join all groups again: the broker may have forgotten them. See join_control_again()."""
        self.join_control_again()
        if self._transport.traffic_channel:
            self._traffic.join_again()

    async def renew(self) -> None:
        """Go on with new channels. If they cannot be opened, the old ones stay."""
        traffic_channel, control_channel = await self._transport.renew()
        self._traffic.doubt()
        self.join_again()
        # The broker may have kept the groups, and would fill the old channels.
        for group in self._control.wanted:
            await self._transport.remove_control(group, control_channel)
        for group in self._traffic.wanted:
            await self._transport.remove_traffic(group, traffic_channel)

    async def leave_own_groups(self) -> None:
        """Leave the node's own groups, and wait until all leaves are done, for 1 s at most."""
        if self._traffic_group is not None:
            self._traffic.leave(self._traffic_group)
        for group in self._control.wanted:
            self._control.leave(group)
        await asyncio.gather(self._control.settle(_LEAVE_LIMIT), self._traffic.settle(_LEAVE_LIMIT))

    def stop(self) -> None:
        """Join and leave nothing more: the channels are given up."""
        self._control.stop()
        self._traffic.stop()
