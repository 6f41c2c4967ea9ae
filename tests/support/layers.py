"""A channel layer of one process, over which several hubs meet as if they were processes."""

import asyncio
import contextlib
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer, InMemoryChannelLayer


class SharedLayer(BaseChannelLayer):
    """A channel layer whose objects share one store, in memory. While that is away it takes all, and brings nothing.

    Messages that are `lost`, by hub and type, are not brought either; nor is anything to a channel that is `deaf`.
    While it `refuses`, each send fails; if it `hangs`, each waits for that event.
    """

    extensions = ("groups",)
    memory = InMemoryChannelLayer()
    is_away = False
    refuses = False
    hangs: asyncio.Event | None = None
    lost: frozenset[tuple[str, str]] = frozenset()
    deaf: frozenset[str] = frozenset()
    opens_after = 0.0
    beats_at: ClassVar[dict[str, float]] = {}  # when the last heartbeat of a hub was brought
    sent: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    # Of the readers of channels: each runs in a thread of its own.
    loops: ClassVar[WeakValueDictionary[str, asyncio.AbstractEventLoop]] = WeakValueDictionary()

    @classmethod
    def channels_of(cls, hub: str) -> frozenset[str]:
        """Return the channels of the node of a hub."""
        return frozenset(
            channel for kind in ("ask", "hub") for channel in cls.memory.groups.get(f"etp.{kind}.{hub}", ())
        )

    async def new_channel(self, prefix: str = "specific") -> str:
        if SharedLayer.deaf:
            raise OSError("cut off")
        await asyncio.sleep(SharedLayer.opens_after)
        return await SharedLayer.memory.new_channel(prefix)

    async def receive(self, channel: str) -> Any:
        SharedLayer.loops[channel] = asyncio.get_running_loop()
        return await SharedLayer.memory.receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        await SharedLayer.memory.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await SharedLayer.memory.group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        if SharedLayer.refuses:
            raise OSError("cut off")
        if SharedLayer.hangs is not None:
            await SharedLayer.hangs.wait()
        is_lost = (message.get("hub"), message["type"]) in SharedLayer.lost
        if SharedLayer.is_away or is_lost:
            return
        SharedLayer.sent.append((group, message))
        if message["type"] == "etp.beat":
            SharedLayer.beats_at[message["hub"]] = asyncio.get_running_loop().time()
        for channel in tuple(SharedLayer.memory.groups.get(group, ())):
            if channel not in SharedLayer.deaf:
                loop = SharedLayer.loops.get(channel)
                if loop is None or loop is asyncio.get_running_loop():
                    await _put(channel, message)
                elif loop.is_running():
                    asyncio.run_coroutine_threadsafe(_put(channel, message), loop)


async def _put(channel: str, message: dict[str, Any]) -> None:
    with contextlib.suppress(ChannelFull):
        await SharedLayer.memory.send(channel, message)
