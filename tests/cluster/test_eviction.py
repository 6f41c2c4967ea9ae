"""Expired nodes leave the groups, over a channel layer in memory."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from django_etp.cluster.directory import Directory
from django_etp.cluster.eviction import Eviction
from django_etp.cluster.messages import Beat, Evicted, pack
from django_etp.cluster.transport import Transport
from tests.support.inprocess import until

ROOMS = ("etp.room.one", "etp.room.two")
OWN_GROUPS = {"etp.control": "control", "etp.ask.b": "control", "etp.hub.b": "traffic"}


class SharedLayer(InMemoryChannelLayer):
    """A channel layer whose objects share their groups, and whose leaves can be held up."""

    shared_groups: dict[str, dict[str, float]]
    may_discard: asyncio.Event
    sent: list[tuple[str, Any]]

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.groups = SharedLayer.shared_groups

    async def group_discard(self, group: str, channel: str) -> None:
        await SharedLayer.may_discard.wait()
        await super().group_discard(group, channel)

    async def group_send(self, group: str, message: Any) -> None:
        SharedLayer.sent.append((group, message))


class Site:
    """A node's directory and evictions, and the groups that it shares with node "b"."""

    def __init__(self) -> None:
        self.transport = Transport("default")
        self.directory = Directory()
        self.tasks: set[asyncio.Task[None]] = set()
        self.eviction = Eviction(self.transport, self.directory, lambda: ROOMS, self._run)
        self.numbers = iter(range(1, 100))

    def record(self, now: float) -> bool:
        """Record a heartbeat of "b"; return whether it had expired."""
        return self.directory.record(Beat("b", next(self.numbers), 2.0, "traffic", "control"), now)

    async def settle(self) -> None:
        async with asyncio.timeout(5):
            await asyncio.gather(*self.tasks)

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self.tasks.add(task)
        return task


@pytest.fixture
async def site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.SharedLayer", "CONFIG": {"expiry": 60}}}
    groups = {group: {channel: 0.0, "another": 0.0} for group, channel in OWN_GROUPS.items()}
    groups |= {room: {"traffic": 0.0, "another": 0.0} for room in (*ROOMS, "etp.room.not-shared")}
    monkeypatch.setattr(SharedLayer, "shared_groups", groups, raising=False)
    monkeypatch.setattr(SharedLayer, "may_discard", asyncio.Event(), raising=False)
    monkeypatch.setattr(SharedLayer, "sent", [], raising=False)
    SharedLayer.may_discard.set()
    site = Site()
    yield site
    await site.transport.close()


def groups_of(*channels: str) -> set[str]:
    return {group for group, members in SharedLayer.shared_groups.items() if set(channels) & set(members)}


async def test_an_expired_node_leaves_its_own_groups_and_the_shared_ones(site: Site) -> None:
    site.record(0)
    assert site.eviction.evict_expired(6) == []
    assert site.eviction.evict_expired(6.1) == ["b"]
    assert site.eviction.evict_expired(66) == []
    await site.settle()
    assert groups_of("traffic") == {"etp.hub.b", *ROOMS, "etp.room.not-shared"}  # the layer keeps messages for it
    assert site.eviction.evict_expired(66.2) == []
    await site.settle()
    assert groups_of("traffic", "control") == {"etp.room.not-shared"}
    assert groups_of("another") == set(SharedLayer.shared_groups)


@pytest.mark.parametrize(("is_serving", "level"), [(True, logging.WARNING), (False, logging.INFO)])
async def test_the_eviction_of_a_node_with_connections_is_a_warning(
    site: Site, is_serving: bool, level: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "django_etp")
    site.directory.record(Beat("b", 1, 2.0, "traffic", "control", is_serving=is_serving), 0)
    site.eviction.evict_expired(7)
    await site.settle()
    assert [(record.levelno, "hub b" in record.getMessage()) for record in caplog.records] == [(level, True)]


async def test_a_heartbeat_meanwhile_stops_the_removal_and_is_followed_by_a_notice(site: Site) -> None:
    site.record(0)
    SharedLayer.may_discard.clear()
    site.eviction.evict_expired(7)
    site.eviction.evict_expired(67)
    await asyncio.sleep(0)
    assert site.record(68)
    site.eviction.end("b")
    await asyncio.sleep(0.02)
    assert SharedLayer.sent == []
    SharedLayer.may_discard.set()
    await site.settle()
    assert SharedLayer.sent == [("etp.control", pack(Evicted("b")))]
    assert groups_of("traffic") >= {"etp.hub.b", *ROOMS}


async def test_a_node_whose_removal_has_ended_is_notified_at_once(site: Site) -> None:
    site.record(0)
    site.eviction.evict_expired(7)
    site.eviction.evict_expired(67)
    await site.settle()
    site.eviction.end("b")
    await until(lambda: SharedLayer.sent)
    assert SharedLayer.sent == [("etp.control", pack(Evicted("b")))]


async def test_a_node_that_comes_back_while_the_layer_keeps_its_messages_leaves_no_group(site: Site) -> None:
    site.record(0)
    site.eviction.evict_expired(7)
    assert site.record(50)
    site.eviction.end("b")
    site.eviction.evict_expired(68)
    await site.settle()
    assert groups_of("traffic") == {"etp.hub.b", *ROOMS, "etp.room.not-shared"}
    assert SharedLayer.sent == []
