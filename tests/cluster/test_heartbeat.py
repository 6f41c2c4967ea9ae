"""The announcements of one node, over a channel layer in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from django_etp.cluster.directory import Directory
from django_etp.cluster.heartbeat import Heartbeat
from django_etp.cluster.liveness import Liveness
from django_etp.cluster.messages import Beat, Message
from django_etp.cluster.transport import Reading, Transport
from django_etp.conf.layer_names import control_group
from tests.support.inprocess import until


class Announcer:
    """A node's heartbeat, and the heartbeats that arrived."""

    def __init__(self) -> None:
        self.transport = Transport("default")
        self.directory = Directory()
        self.heartbeat = Heartbeat("a" * 16, "etp.hub.a", self.transport, self.directory, Liveness(receives_rooms=True))
        self.beats: list[Beat] = []
        self.is_deaf = False

    def take(self, message: Message) -> None:
        assert isinstance(message, Beat)
        self.beats.append(message)
        if not self.is_deaf:
            self.heartbeat.receive(message)


@pytest.fixture
async def announcer() -> AsyncIterator[Announcer]:
    announcer = Announcer()
    await announcer.transport.open(Reading(announcer.take, lambda: None), None)
    await announcer.transport.add_control(control_group())
    yield announcer
    await announcer.transport.close()


async def test_heartbeats_are_numbered_and_name_the_channels(announcer: Announcer) -> None:
    await announcer.heartbeat.announce(wait=True)
    await announcer.heartbeat.announce(wait=True)
    first, second = announcer.beats
    assert second.number > first.number
    assert (first.hub, first.control_channel) == ("a" * 16, announcer.transport.control_channel)
    assert (first.interval, first.is_last) == (announcer.heartbeat.interval, False)


async def test_a_caller_may_wait_until_a_heartbeat_comes_back(announcer: Announcer) -> None:
    announcer.is_deaf = True
    announcing = asyncio.create_task(announcer.heartbeat.announce(wait=True))
    await until(lambda: announcer.beats)
    await asyncio.sleep(0.02)
    assert not announcing.done()
    announcer.heartbeat.receive(announcer.beats[0])
    await asyncio.wait_for(announcing, 5)


async def test_a_node_that_knows_no_other_announces_itself_as_new(announcer: Announcer) -> None:
    await announcer.heartbeat.announce(wait=True)
    announcer.directory.record(Beat("b" * 16, 1, 2.0, "channel", "control"), now=0.0)
    await announcer.heartbeat.announce(wait=True)
    await announcer.heartbeat.announce(is_new=True, wait=True)
    assert [beat.is_new for beat in announcer.beats] == [True, False, True]


async def test_a_heartbeat_holds_the_state_at_the_moment_it_is_sent(announcer: Announcer) -> None:
    announcing = [asyncio.create_task(announcer.heartbeat.announce(wait=True)) for _ in "12"]
    announcer.heartbeat.has_connections = True
    await asyncio.gather(*announcing)
    assert [beat.is_serving for beat in announcer.beats] == [True, True]


async def test_the_last_heartbeat_follows_one_that_is_under_way(announcer: Announcer) -> None:
    alive = asyncio.create_task(announcer.heartbeat.announce())
    await asyncio.sleep(0)
    await announcer.heartbeat.announce_end()
    await alive
    await until(lambda: len(announcer.beats) == 2)
    assert [(beat.number, beat.is_last) for beat in announcer.beats] == [(1, False), (2, True)]


async def test_a_heartbeat_of_another_form_is_none_of_a_node(announcer: Announcer) -> None:
    def resembles(hub: str = "b" * 16, channel: str = "etp.b!1", control_channel: str = "etp.b!2") -> bool:
        return announcer.heartbeat.resembles(Beat(hub, 1, 2.0, channel, control_channel))

    assert resembles()
    assert resembles(channel="")
    assert not resembles(hub="b")
    assert not resembles(hub="B" * 16)
    assert not resembles(channel="c")
    assert not resembles(control_channel="d")
    assert not resembles(channel="etp" + "x" * 1000)


async def test_a_layer_may_put_a_prefix_of_its_own_before_the_names_of_channels(
    announcer: Announcer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Transport, "control_channel", "asgietp123")  # as RedisPubSubChannelLayer does
    assert announcer.heartbeat.resembles(Beat("b" * 16, 1, 2.0, "asgietp456", "asgietp789"))
    assert not announcer.heartbeat.resembles(Beat("b" * 16, 1, 2.0, "etp456", "etp789"))
    monkeypatch.setattr(Transport, "control_channel", "name.of.its.own")
    assert announcer.heartbeat.resembles(Beat("b" * 16, 1, 2.0, "another", "name"))


async def test_a_node_that_does_not_read_yet_takes_any_heartbeat() -> None:
    announcer = Announcer()
    assert announcer.heartbeat.resembles(Beat("b", 1, 2.0, "c", "d"))
