"""The announcements of last numbers, over a plain async function in the layer's place."""

import asyncio
from collections import Counter
from typing import Any

from django_etp.cluster.announcer import Announcer
from django_etp.cluster.lanes import Lane
from tests.support.hurry import hurried


class Announced:
    """Lanes whose numbers are announced, and what was announced; the layer fails on request."""

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.messages: list[list[str]] = []
        self.done: list[str] = []
        self.is_down = False
        self.tries = 0
        self.announcer = Announcer(self.lanes, self._send_to_all, self.done.append)

    def send(self, *groups: str) -> None:
        """Send a message to each group."""
        now = asyncio.get_running_loop().time()
        for group in groups:
            lane = self.lanes.setdefault(group, Lane(f"stream.{group}", 0.0))
            lane.number += 1
            lane.frames += 1
            lane.record_sent(now)
            self.announcer.add(group, lane, now)
        self.announcer.start()

    def times(self) -> dict[str, int]:
        """Return how often each group was announced."""
        groups = [group for message in self.messages for group in message]
        return {group: groups.count(group) for group in dict.fromkeys(groups)}

    async def _send_to_all(self, message: dict[str, Any]) -> None:
        self.tries += 1
        if self.is_down:
            raise ConnectionError("down")
        self.messages.append([stream[0] for stream in message["streams"]])


@hurried
async def test_a_lane_is_done_once_it_was_announced_six_times():
    site = Announced()
    site.send("a", "b")
    await asyncio.sleep(25)
    assert site.done == []
    await asyncio.sleep(10)
    assert site.times() == {"a": 6, "b": 6}
    assert site.done == ["a", "b"]
    assert len(site.announcer) == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


@hurried
async def test_a_lane_that_is_sent_to_meanwhile_is_announced_soon_again():
    site = Announced()
    site.send("a")
    await asyncio.sleep(12)
    assert site.times() == {"a": 4}
    site.send("a")
    await asyncio.sleep(0.35)
    assert site.times() == {"a": 5}
    await asyncio.sleep(40)
    assert site.times() == {"a": 10}


@hurried
async def test_more_than_500_go_in_several_messages_in_their_order_and_none_is_forgotten():
    site = Announced()
    groups = [f"{number:04}" for number in range(1700)]
    site.send(*groups[:900])
    await asyncio.sleep(0.01)
    site.send(*groups[900:])
    await asyncio.sleep(0.75)
    assert [len(message) for message in site.messages] == [500, 500, 500, 200]
    assert len(site.announcer) == len(groups)
    assert [group for message in site.messages for group in message] == groups


@hurried
async def test_if_many_streams_go_quiet_at_once_each_is_announced_once():
    site = Announced()
    groups = [str(number) for number in range(15_000)]
    site.send(*groups)
    await asyncio.sleep(60)
    times = Counter(group for message in site.messages for group in message)
    assert times.keys() == set(groups)
    assert sum(count == 1 for count in times.values()) > 4000
    assert max(times.values()) == 6
    assert sorted(site.done) == sorted(groups)


@hurried
async def test_numbers_that_the_layer_does_not_take_are_announced_once_it_does():
    site = Announced()
    site.is_down = True
    groups = [str(number) for number in range(11_000)]
    site.send(*groups)
    await asyncio.sleep(5)
    assert site.tries < 60
    site.is_down = False
    await asyncio.sleep(60)
    assert {group for message in site.messages for group in message} == set(groups)
    assert sorted(site.done) == sorted(groups)


@hurried
async def test_a_stop_forgets_no_number_that_is_under_way():
    site = Announced()
    waiting = asyncio.Event()

    async def hang(message: dict[str, Any]) -> None:
        waiting.set()
        await asyncio.sleep(60)

    site.announcer = Announcer(site.lanes, hang, site.done.append)
    site.send("a")
    await waiting.wait()
    await site.announcer.stop()
    assert list(site.announcer) == ["a"]
    assert asyncio.all_tasks() == {asyncio.current_task()}
