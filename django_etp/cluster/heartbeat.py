"""A node's announcements: heartbeats and a last message to all nodes, and echoes to itself.

Rules kept here:

- One heartbeat is sent after the other, each with the state at that moment: so the last one that arrives is true.
- A node that knows no other announces itself as new each time: the others may have missed its first heartbeat.
"""

import asyncio
import re

from django_etp.conf.layer_names import channel_prefix, control_group

from .directory import Directory, beat_interval
from .liveness import Liveness
from .messages import Beat, Echo, pack
from .transport import Transport

__all__ = ["Heartbeat"]

_HUB_ID = re.compile(r"[0-9a-f]{16}")
_MAX_NAME = 200


class Heartbeat:
    """The heartbeats of one node.

    Args:
        hub: the id of the node's hub.
        group: the node's own group, which its echoes are sent to.
        transport: the channel layer.
        directory: the other nodes; the more there are, the less often each sends a heartbeat.
        liveness: counts heartbeats and echoes.
    """

    def __init__(self, hub: str, group: str, transport: Transport, directory: Directory, liveness: Liveness) -> None:
        self._hub = hub
        self._group = group
        self._transport = transport
        self._directory = directory
        self._liveness = liveness
        self._sending = asyncio.Lock()
        self._came_back = asyncio.Event()
        self.has_connections = False

    @property
    def interval(self) -> float:
        """The time between two heartbeats, in seconds."""
        return beat_interval(len(self._directory) + 1)

    @property
    def is_sending(self) -> bool:
        """Whether the last heartbeat is still being sent."""
        return self._sending.locked()

    async def announce(self, *, is_new: bool = False, wait: bool = False) -> None:
        """Send a heartbeat to all nodes; with ``wait``, return once it has come back."""
        async with self._sending:
            # Nodes that know no other may have begun while the broker was away.
            beat = self._beat(is_new=is_new or not len(self._directory))
            await self._transport.send_control(control_group(), pack(beat))
        self._liveness.record_beat_taken(beat.number, asyncio.get_running_loop().time())
        while wait and not self._liveness.has_received(beat.number):
            self._came_back.clear()
            await self._came_back.wait()

    def receive(self, beat: Beat) -> None:
        """Record an own heartbeat that came back."""
        self._liveness.record_beat(beat.number)
        self._came_back.set()

    def resembles(self, beat: Beat) -> bool:
        """Whether a heartbeat looks like one of another node: its hub's id, and the names that the layer gave it."""
        before, prefix, _ = self._transport.control_channel.partition(channel_prefix())
        if not prefix:
            return True  # the channel is not open, or the layer makes names of its own
        prefix = before + prefix  # some layers put their own prefix before it
        return bool(_HUB_ID.fullmatch(beat.hub)) and all(
            not name or (name.startswith(prefix) and len(name) <= _MAX_NAME)
            for name in (beat.channel, beat.control_channel)
        )

    async def announce_end(self) -> None:
        """Send the last heartbeat, after which the other nodes no longer expect this one."""
        async with self._sending:
            await self._transport.send_control(control_group(), pack(self._beat(is_last=True)))

    async def send_echo(self) -> None:
        """Send a message to the node itself, the way that room traffic takes, if it receives any."""
        if not self._liveness.receives_rooms:
            return
        clock = asyncio.get_running_loop().time
        number = self._liveness.next_echo(clock())
        async with asyncio.timeout(self.interval):
            await self._transport.send(self._group, pack(Echo(self._hub, number)))
        self._liveness.record_echo_taken(number, clock())

    def _beat(self, *, is_new: bool = False, is_last: bool = False) -> Beat:
        return Beat(
            hub=self._hub,
            number=self._liveness.next_beat(asyncio.get_running_loop().time()),
            interval=self.interval,
            channel=self._transport.traffic_channel,
            control_channel=self._transport.control_channel,
            is_serving=self.has_connections,
            is_new=is_new,
            is_last=is_last,
        )
