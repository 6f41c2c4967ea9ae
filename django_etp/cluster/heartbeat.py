"""What a hub says of itself: signs of life to all hubs, a goodbye, and echoes to itself.

Rules kept here:

- Signs of life go one after the other, with what holds when they are said: so the last that is heard is true.
- Who knows of nobody says that it is new, though it said so before: others may not have heard it.
"""

import asyncio

from .directory import Directory, beat_interval
from .liveness import Liveness
from .messages import CONTROL_GROUP, Beat, Echo, pack
from .transport import Transport

__all__ = ["Heartbeat"]


class Heartbeat:
    """The signs of life of one hub.

    Args:
        hub: the hub's id.
        group: the group where the hub hears its echoes.
        transport: where they are said.
        directory: the other hubs; the more there are, the less often each speaks.
        liveness: takes note of what is said.
    """

    def __init__(self, hub: str, group: str, transport: Transport, directory: Directory, liveness: Liveness) -> None:
        self._hub = hub
        self._group = group
        self._transport = transport
        self._directory = directory
        self._liveness = liveness
        self._speaking = asyncio.Lock()
        self._was_heard = asyncio.Event()
        self.has_connections = False

    @property
    def interval(self) -> float:
        """How long to wait between two signs of life, in seconds."""
        return beat_interval(len(self._directory) + 1)

    @property
    def is_speaking(self) -> bool:
        """Whether a sign of life is under way still."""
        return self._speaking.locked()

    async def announce(self, *, is_new: bool = False, wait: bool = False) -> None:
        """Tell all hubs that this one lives; ``wait``: until it has heard so itself."""
        async with self._speaking:
            # Whoever hears of nobody may have begun while the broker was away.
            beat = self._beat(is_new=is_new or not len(self._directory))
            await self._transport.send_control(CONTROL_GROUP, pack(beat))
        while wait and not self._liveness.has_received(beat.number):
            self._was_heard.clear()
            await self._was_heard.wait()

    def receive(self, beat: Beat) -> None:
        """Take note of an own sign of life that came back."""
        self._liveness.record_beat(beat.number)
        self._was_heard.set()

    async def announce_end(self) -> None:
        """Tell all hubs that this one ends."""
        async with self._speaking:
            await self._transport.send_control(CONTROL_GROUP, pack(self._beat(is_last=True)))

    async def send_echo(self) -> None:
        """Send something to itself, through the groups of rooms."""
        number = self._liveness.next_echo(asyncio.get_running_loop().time())
        async with asyncio.timeout(self.interval):
            await self._transport.send(self._group, pack(Echo(self._hub, number)))

    def _beat(self, *, is_new: bool = False, is_last: bool = False) -> Beat:
        return Beat(
            hub=self._hub,
            number=self._liveness.next_beat(),
            interval=self.interval,
            channel=self._transport.traffic_channel,
            control_channel=self._transport.control_channel,
            is_serving=self.has_connections,
            is_new=is_new,
            is_last=is_last,
        )
