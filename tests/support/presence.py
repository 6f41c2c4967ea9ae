"""Several hubs of one process with rooms that have presence, over a layer whose objects share one memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

from channels.layers import InMemoryChannelLayer

from django_etp.hub.hub import Hub
from django_etp.hub.queries import answer
from django_etp.presence.room import PresenceRoom
from django_etp.presence.tracker import tracker_of
from django_etp.rooms.presence import ListPresent
from tests.support.layers import SharedLayer

ROOM = ("default", "room")


class CutLayer(SharedLayer):
    """A shared layer from which single hubs can be cut off: they neither send nor receive."""

    cut: ClassVar[set[str]] = set()

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        sender = " ".join(str(message.get(each, "")) for each in ("hub", "stream", "answer_to"))
        if any(hub in sender for hub in CutLayer.cut):
            raise OSError("cut off")
        await super().group_send(group, message)


@contextmanager
def cut_off(hub: Hub) -> Iterator[None]:
    """Cut a hub off from the layer for the block."""
    CutLayer.cut = {hub.id}
    SharedLayer.deaf = SharedLayer.channels_of(hub.id)
    yield
    CutLayer.cut, SharedLayer.deaf = set(), frozenset()


class Seat:
    """A connection of a hub that is in a room with presence, and keeps what it was told."""

    is_accepted = True
    is_far_behind = False

    def __init__(self, hub: Hub, key: str, room: PresenceRoom, name: str) -> None:
        self.id = hub.new_connection_id()
        self.namespace = ROOM[0]
        self.key = key
        self.name = name
        self.hub = hub
        self.told: list[dict[str, Any]] = []
        hub.add(self)
        self.answer = json.loads(f"{{{tracker_of(hub).enter(room, self.id, key, '{}')}}}")
        self.members = {entry["key"]: entry for entry in self.answer["members"]}

    def deliver(self, frame: str) -> None:
        name, _, data = frame.split("||", 2)
        assert name == f"__in {self.name} __presence"
        change = json.loads(data)
        self.told.append(change)
        for entry in (*change.get("joined", ()), *change.get("changed", ())):
            self.members[entry["key"]] = entry
        for key in change.get("left", ()):
            del self.members[key]

    @property
    def counts(self) -> dict[str, int]:
        """How many connections each user has, as this member knows it."""
        return {key: entry["connections"] for key, entry in self.members.items()}

    @property
    def changes(self) -> list[tuple[str, str]]:
        """What it was told, in order: ("joined" or "changed" or "left", key)."""
        return [
            (kind, each if kind == "left" else each["key"])
            for change in self.told
            for kind in ("joined", "changed", "left")
            for each in change.get(kind, ())
        ]

    async def leave(self, *, is_gone: bool = False) -> None:
        """Leave the room, or end."""
        assert self.hub.presence is not None
        self.hub.presence.leave(self.id, (ROOM[0], self.name), is_gone=is_gone)
        await self.hub.remove(self)


async def sit(hub: Hub, key: str, name: str = ROOM[1]) -> Seat:
    """Let a connection of a user enter a room with presence."""
    return Seat(hub, key, await tracker_of(hub).open(ROOM[0], name), name)


async def present(hub: Hub, name: str = ROOM[1]) -> dict[str, int]:
    """Return who is in a room, and with how many connections, as `rooms.present()` does."""
    return {each.key: each.connections for each in await ListPresent(ROOM[0], name).ask(hub, 2.0)}


@asynccontextmanager
async def hubs(count: int) -> AsyncIterator[list[Hub]]:
    """Run so many hubs that serve connections and know each other."""
    started = [await start_hub() for _ in range(count)]
    await asyncio.sleep(2.5)  # by then each has received a heartbeat of each other one
    yield started
    for hub in started:
        await stop(hub)


async def start_hub() -> Hub:
    """Start a hub that serves connections."""
    hub = Hub(asyncio.get_running_loop(), answer, is_serving=True)
    await hub.start()
    tracker_of(hub).begin()
    return hub


async def stop(hub: Hub) -> None:
    """End a hub as a server does that ends."""
    await hub.leave_others()
    await hub.settle(5)


def kill(hub: Hub) -> None:
    """End a hub without a word, as kill -9 does."""
    SharedLayer.deaf |= SharedLayer.channels_of(hub.id)
    tracker = tracker_of(hub)
    if tracker._timer is not None:
        tracker._timer.cancel()
    node: Any = hub.link
    node._ticker.stop()
    node._tasks.cancel()
    for task in hub._tasks:
        task.cancel()


def reset_layer() -> None:
    """Make the shared layer empty, and let it bring everything."""
    SharedLayer.memory = InMemoryChannelLayer(capacity=100_000)
    SharedLayer.is_away = SharedLayer.refuses = False
    SharedLayer.lost = SharedLayer.deaf = frozenset()
    SharedLayer.opens_after = 0.0
    CutLayer.cut = set()
    SharedLayer.sent.clear()
