"""What a hub says of itself, over a channel layer in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from django_etp.envelope import CONTROL_GROUP, Beat, Message
from django_etp.heartbeat import Heartbeat
from django_etp.layers import Layers, Reading
from django_etp.peers import Peers
from django_etp.pulse import Pulse

from .inprocess import until


class Speaker:
    """A hub's heartbeat, and what is heard of it."""

    def __init__(self) -> None:
        self.layers = Layers("default")
        self.peers = Peers()
        self.heartbeat = Heartbeat("a" * 16, "etp.hub.a", self.layers, self.peers, Pulse(hears_rooms=True))
        self.beats: list[Beat] = []
        self.is_deaf = False

    def take(self, message: Message) -> None:
        assert isinstance(message, Beat)
        self.beats.append(message)
        if not self.is_deaf:
            self.heartbeat.hear(message)


@pytest.fixture
async def speaker() -> AsyncIterator[Speaker]:
    speaker = Speaker()
    await speaker.layers.open(Reading(speaker.take, lambda: None), None)
    await speaker.layers.add_control(CONTROL_GROUP)
    yield speaker
    await speaker.layers.close()


async def test_signs_of_life_are_numbered_and_name_the_channels(speaker: Speaker) -> None:
    await speaker.heartbeat.say_alive(wait=True)
    await speaker.heartbeat.say_alive(wait=True)
    first, second = speaker.beats
    assert second.number > first.number
    assert (first.hub, first.control_channel) == ("a" * 16, speaker.layers.control_channel)
    assert (first.interval, first.is_last) == (speaker.heartbeat.interval, False)


async def test_who_waits_for_a_sign_of_life_waits_until_it_comes_back(speaker: Speaker) -> None:
    speaker.is_deaf = True
    saying = asyncio.create_task(speaker.heartbeat.say_alive(wait=True))
    await until(lambda: speaker.beats)
    await asyncio.sleep(0.02)
    assert not saying.done()
    speaker.heartbeat.hear(speaker.beats[0])
    await asyncio.wait_for(saying, 5)


async def test_who_knows_of_nobody_says_that_it_is_new(speaker: Speaker) -> None:
    await speaker.heartbeat.say_alive(wait=True)
    speaker.peers.hear(Beat("b" * 16, 1, 2.0, "channel", "control"), now=0.0)
    await speaker.heartbeat.say_alive(wait=True)
    await speaker.heartbeat.say_alive(is_new=True, wait=True)
    assert [beat.is_new for beat in speaker.beats] == [True, False, True]


async def test_it_says_whether_it_has_connections_as_it_is_when_it_speaks(speaker: Speaker) -> None:
    speaking = [asyncio.create_task(speaker.heartbeat.say_alive(wait=True)) for _ in "12"]
    speaker.heartbeat.has_connections = True
    await asyncio.gather(*speaking)
    assert [beat.is_serving for beat in speaker.beats] == [True, True]


async def test_a_goodbye_comes_behind_a_sign_of_life_that_is_under_way(speaker: Speaker) -> None:
    alive = asyncio.create_task(speaker.heartbeat.say_alive())
    await asyncio.sleep(0)
    await speaker.heartbeat.say_goodbye()
    await alive
    await until(lambda: len(speaker.beats) == 2)
    assert [(beat.number, beat.is_last) for beat in speaker.beats] == [(1, False), (2, True)]
