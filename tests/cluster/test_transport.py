"""The layer objects of one hub."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer

from django_etp.cluster.messages import Evicted, Message, pack
from django_etp.cluster.transport import Reading, Transport
from django_etp.exceptions import LayerUnavailable
from tests.support.hurry import hurried, seconds
from tests.support.inprocess import until


class ForgetfulLayer(BaseChannelLayer):
    def __init__(self, group_expiry: Any) -> None:
        super().__init__()
        self.group_expiry = group_expiry


@pytest.mark.parametrize(
    ("group_expiry", "expected"), [(60, 15), (0.5, 0.125), (86400, 600), (0, 600), (-1, 600), (None, 600)]
)
def test_groups_are_joined_again_well_before_they_expire(settings: Any, group_expiry: Any, expected: float) -> None:
    settings.CHANNEL_LAYERS = {
        "default": {"BACKEND": f"{__name__}.ForgetfulLayer", "CONFIG": {"group_expiry": group_expiry}}
    }
    assert Transport("default").rejoin_interval == expected


@pytest.mark.parametrize(("hosts", "expected"), [(1, 600), (2, 30)])
def test_groups_of_a_layer_with_several_hosts_are_joined_again_more_often(
    settings: Any, hosts: int, expected: float
) -> None:
    config = {"hosts": [("127.0.0.1", 1 + number) for number in range(hosts)]}  # it connects when it is first used
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": config}}
    assert Transport("default").rejoin_interval == expected


@pytest.mark.parametrize(
    ("backend", "config", "expected"),
    [
        ("channels_redis.core.RedisChannelLayer", {}, 60),
        ("channels_redis.core.RedisChannelLayer", {"expiry": 300}, 300),
        ("channels_redis.pubsub.RedisPubSubChannelLayer", {}, 0),
    ],
)
async def test_some_layers_keep_messages_for_a_while(settings: Any, backend: str, config: Any, expected: float) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": {"hosts": [("127.0.0.1", 1)], **config}}}
    assert Transport("default").expiry == expected


class ReluctantLayer(InMemoryChannelLayer):
    """One that can be opened, and no more from some point on."""

    is_open = True

    async def new_channel(self, prefix: str = "specific") -> str:
        if not ReluctantLayer.is_open:
            raise OSError("down")
        return await super().new_channel(prefix)


@pytest.fixture
def reluctant(settings: Any) -> Iterator[type[ReluctantLayer]]:
    """The layer of the settings, which opens unless told otherwise."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.ReluctantLayer"}}
    yield ReluctantLayer
    ReluctantLayer.is_open = True


@asynccontextmanager
async def read() -> AsyncIterator[tuple[Transport, list[Message]]]:
    """Open a layer's channels; give it with the list of what comes from other hubs."""
    taken: list[Message] = []
    transport = Transport("default")
    await transport.open(Reading(taken.append, lambda: None), Reading(lambda message: None, lambda: None))
    yield transport, taken
    await transport.close()


async def test_both_channels_are_read_until_the_end() -> None:
    async with read() as (transport, taken):
        await transport.add_control("group")
        await transport.send_control("group", pack(Evicted("a")))
        await until(lambda: taken == [Evicted("a")])
        assert transport.control_channel
        assert transport.traffic_channel
    assert (transport.control_channel, transport.traffic_channel) == ("", "")
    with pytest.raises(LayerUnavailable, match="could not be opened yet"):
        await transport.add_control("group")


async def test_what_is_renewed_reads_other_channels() -> None:
    async with read() as (transport, taken):
        old = transport.traffic_channel, transport.control_channel
        assert await transport.renew() == old
        assert transport.traffic_channel not in ("", old[0])
        assert transport.control_channel not in ("", old[1])
        await transport.add_control("group")
        await transport.send_control("group", pack(Evicted("a")))
        await until(lambda: taken == [Evicted("a")])


class HangingLayer(InMemoryChannelLayer):
    """One that lets nobody leave a group."""

    async def group_discard(self, group: str, channel: str) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("kind", ["traffic", "control"])
def test_removing_a_channel_from_a_group_gives_up_after_3_s(settings: Any, kind: str) -> None:
    """Burials, and what begins anew, would wait for ever otherwise."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.HangingLayer"}}

    @hurried
    async def remove() -> None:
        removing = asyncio.ensure_future(getattr(Transport("default"), f"remove_{kind}")("group", "channel"))
        assert await seconds(removing) == pytest.approx(3, abs=0.1)
        assert isinstance(removing.exception(), TimeoutError)

    remove()


async def test_what_cannot_be_renewed_stays_as_it_was(reluctant: type[ReluctantLayer]) -> None:
    async with read() as (transport, taken):
        await transport.add_control("group")
        reluctant.is_open = False
        with pytest.raises(OSError, match="down"):
            await transport.renew()
        await transport.send_control("group", pack(Evicted("a")))
        await until(lambda: taken == [Evicted("a")])
