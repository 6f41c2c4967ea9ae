"""The channels of one node and their groups, over a channel layer in memory."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from django_etp.cluster.messages import Evicted, Foreign, Message, pack
from django_etp.cluster.receiver import Receiver
from django_etp.cluster.transport import Transport
from tests.support.inprocess import until

CONTROL, OWN, ROOM = "etp.control", "etp.hub.a", "etp.room.r"


class SharedLayer(InMemoryChannelLayer):
    """A channel layer whose objects share their groups and channels, as those of a broker do."""

    shared_groups: dict[str, dict[str, float]]
    shared_channels: dict[str, Any]

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.groups = SharedLayer.shared_groups
        self.channels = SharedLayer.shared_channels


@pytest.fixture(autouse=True)
def layer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of the settings, empty."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.SharedLayer"}}
    monkeypatch.setattr(SharedLayer, "shared_groups", {}, raising=False)
    monkeypatch.setattr(SharedLayer, "shared_channels", {}, raising=False)


class Site:
    """A receiver, and what it received."""

    def __init__(self, *, is_serving: bool) -> None:
        self.transport = Transport("default")
        self.control: list[Message] = []
        self.traffic: list[Message] = []
        self.joined: list[str] = []
        self.receiver = Receiver(
            self.transport,
            (CONTROL,),
            OWN if is_serving else None,
            self.control.append,
            self.traffic.append,
            self.joined.append,
        )


@asynccontextmanager
async def receiving(*, is_serving: bool = True) -> AsyncIterator[Site]:
    """A receiver that has begun, until the block ends."""
    site = Site(is_serving=is_serving)
    site.receiver.want_own_groups()
    await site.receiver.begin()
    try:
        yield site
    finally:
        await site.transport.close()
        site.receiver.stop()


def channels(group: str) -> set[str]:
    """Return the channels in a group."""
    return set(SharedLayer.shared_groups.get(group, ()))


def are_joined_by(site: Site) -> Callable[[], bool]:
    """Return a condition: the groups hold the channels of a receiver, and no other."""
    return lambda: (
        channels(CONTROL) == {site.transport.control_channel}
        and channels(OWN) == channels(ROOM) == {site.transport.traffic_channel}
    )


async def test_control_messages_and_room_traffic_have_a_channel_each():
    async with receiving() as site:
        await site.receiver.join(ROOM)
        assert are_joined_by(site)()
        await site.transport.send_control(CONTROL, pack(Evicted("a")))
        await site.transport.send(ROOM, pack(Foreign("r", "news")))
        await until(lambda: site.control and site.traffic)
        assert site.control == [Evicted("a")]
        assert site.traffic == [Foreign("r", "news")]
        assert site.joined == [OWN, ROOM]
        assert site.receiver.traffic_groups == (OWN, ROOM)


async def test_a_node_that_receives_no_rooms_has_no_channel_for_traffic():
    async with receiving(is_serving=False) as site:
        assert site.transport.traffic_channel == ""
        assert channels(CONTROL) == {site.transport.control_channel}
        assert channels(OWN) == set()


async def test_a_group_that_was_left_is_not_received():
    async with receiving() as site:
        await site.receiver.join(ROOM)
        site.receiver.leave(ROOM)
        await until(lambda: not channels(ROOM))
        assert site.receiver.traffic_groups == (OWN,)


async def test_groups_that_the_broker_forgot_are_joined_again():
    async with receiving() as site:
        await site.receiver.join(ROOM)
        SharedLayer.shared_groups.clear()
        site.receiver.join_control_again()
        await until(lambda: channels(CONTROL))
        site.receiver.join_group_again(ROOM)
        await until(lambda: channels(ROOM))
        assert channels(OWN) == set()
        site.receiver.join_again()
        await until(are_joined_by(site))


async def test_renewed_channels_replace_the_old_ones_in_all_groups():
    async with receiving() as site:
        await site.receiver.join(ROOM)
        old = {site.transport.control_channel, site.transport.traffic_channel}
        await site.receiver.renew()
        await until(are_joined_by(site))
        assert not old & {site.transport.control_channel, site.transport.traffic_channel}


async def test_the_end_leaves_the_nodes_own_groups():
    async with receiving() as site:
        await site.receiver.leave_own_groups()
        assert channels(CONTROL) == channels(OWN) == set()
