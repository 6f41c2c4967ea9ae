"""What a hub says of itself, over a channel layer in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from django_etp.cluster.directory import Directory
from django_etp.cluster.heartbeat import Heartbeat
from django_etp.cluster.liveness import Liveness
from django_etp.cluster.messages import CONTROL_GROUP, Beat, Message
from django_etp.cluster.transport import Reading, Transport
from tests.support.inprocess import until


class Speaker:
    """A hub's heartbeat, and what is heard of it."""

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
async def speaker() -> AsyncIterator[Speaker]:
    speaker = Speaker()
    await speaker.transport.open(Reading(speaker.take, lambda: None), None)
    await speaker.transport.add_control(CONTROL_GROUP)
    yield speaker
    await speaker.transport.close()


async def test_signs_of_life_are_numbered_and_name_the_channels(speaker: Speaker) -> None:
    await speaker.heartbeat.announce(wait=True)
    await speaker.heartbeat.announce(wait=True)
    first, second = speaker.beats
    assert second.number > first.number
    assert (first.hub, first.control_channel) == ("a" * 16, speaker.transport.control_channel)
    assert (first.interval, first.is_last) == (speaker.heartbeat.interval, False)


async def test_who_waits_for_a_sign_of_life_waits_until_it_comes_back(speaker: Speaker) -> None:
    speaker.is_deaf = True
    saying = asyncio.create_task(speaker.heartbeat.announce(wait=True))
    await until(lambda: speaker.beats)
    await asyncio.sleep(0.02)
    assert not saying.done()
    speaker.heartbeat.receive(speaker.beats[0])
    await asyncio.wait_for(saying, 5)


async def test_who_knows_of_nobody_says_that_it_is_new(speaker: Speaker) -> None:
    await speaker.heartbeat.announce(wait=True)
    speaker.directory.record(Beat("b" * 16, 1, 2.0, "channel", "control"), now=0.0)
    await speaker.heartbeat.announce(wait=True)
    await speaker.heartbeat.announce(is_new=True, wait=True)
    assert [beat.is_new for beat in speaker.beats] == [True, False, True]


async def test_it_says_whether_it_has_connections_as_it_is_when_it_speaks(speaker: Speaker) -> None:
    speaking = [asyncio.create_task(speaker.heartbeat.announce(wait=True)) for _ in "12"]
    speaker.heartbeat.has_connections = True
    await asyncio.gather(*speaking)
    assert [beat.is_serving for beat in speaker.beats] == [True, True]


async def test_a_goodbye_comes_behind_a_sign_of_life_that_is_under_way(speaker: Speaker) -> None:
    alive = asyncio.create_task(speaker.heartbeat.announce())
    await asyncio.sleep(0)
    await speaker.heartbeat.announce_end()
    await alive
    await until(lambda: len(speaker.beats) == 2)
    assert [(beat.number, beat.is_last) for beat in speaker.beats] == [(1, False), (2, True)]
