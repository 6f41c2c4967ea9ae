"""Batches, fences and the numbers of a stream, without a layer."""

import asyncio
from collections import deque

import pytest

from django_etp.cluster.lanes import ANNOUNCE_AFTER, PUBLISH_LIMIT, Batch, Fence, Joint, Lane
from tests.support.hurry import hurried, seconds


async def turns() -> None:
    """Let all tasks run until they wait."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("frames", "size", "added", "has_room"),
    [
        (499, 1000, 10, True),
        (500, 1000, 10, False),
        (2, 256 * 1024 - 10, 10, True),
        (2, 256 * 1024 - 10, 11, False),
        (0, 0, 10**9, True),
    ],
    ids=["499 frames", "500 frames", "256 KiB", "more than 256 KiB", "one larger frame"],
)
async def test_a_batch_has_room_for_500_frames_and_256_kib(frames: int, size: int, added: int, has_room: bool) -> None:
    batch = Batch()
    batch.frames, batch.size = ["x"] * frames, size
    assert batch.has_room(added) is has_room


async def test_nothing_is_sent_with_a_fence():
    assert not Fence(Joint(1), is_awaited=False).has_room(1)


async def test_a_batch_alone_waits_for_no_other_lane():
    async with asyncio.timeout(5):
        await Batch().wait()


async def test_batches_of_one_event_leave_once_all_their_lanes_have_arrived():
    joint = Joint(2)
    first = asyncio.create_task(Batch(joint).wait())
    await turns()
    assert not first.done()
    await asyncio.gather(first, Batch(joint).wait())


async def test_an_event_waits_for_a_lane_with_an_awaited_fence():
    joint = Joint(1)
    joint.await_lane()
    batch = asyncio.create_task(Batch(joint).wait())
    await turns()
    assert not batch.done()
    fence = asyncio.create_task(Fence(joint, is_awaited=True).wait())
    await batch
    assert not fence.done()
    assert joint.record_sent()
    await fence


async def test_a_fence_opens_once_all_batches_of_its_event_were_sent():
    joint = Joint(2)
    fence = asyncio.create_task(Fence(joint, is_awaited=False).wait())
    assert not joint.record_sent()
    await turns()
    assert not fence.done()
    assert joint.record_sent()
    await fence


@hurried
async def test_a_batch_and_a_fence_wait_no_longer_than_7_s():
    joint = Joint(2)
    waiting = asyncio.gather(Batch(joint).wait(), Fence(joint, is_awaited=False).wait())
    assert await seconds(waiting) == pytest.approx(PUBLISH_LIMIT)


def test_the_last_number_of_a_quiet_stream_is_due_at_growing_intervals():
    lane = Lane("stream", 0.0)
    lane.number = lane.frames = 1
    lane.record_sent(100)
    for announcements, after in enumerate(ANNOUNCE_AFTER):
        lane.announcements = announcements
        lane.announced = 1
        assert lane.due_at(100) == 100 + after


def test_the_number_of_a_stream_that_always_sends_is_due_every_2_s():
    lane = Lane("stream", 0.0)
    lane.batches = deque()
    lane.announced, lane.last = 1, (1, 1)
    for number, now in enumerate([100, 100.5, 101, 101.5, 101.9], start=2):
        lane.number = lane.frames = number
        lane.record_sent(now)
        assert lane.due_at(now) > now
    assert lane.due_at(101.9) == 102
    lane.announced, lane.unannounced_since = 6, 102.0
    assert lane.due_at(110) == 110.2


def test_the_first_number_of_a_stream_that_always_sends_is_due_after_0_2_s():
    lane = Lane("stream", 0.0)
    lane.batches = deque()
    lane.number = lane.frames = 1
    lane.record_sent(100)
    assert lane.due_at(100.1) == 100.2


def test_a_message_under_way_has_no_number_to_announce_yet():
    lane = Lane("stream", 0.0)
    lane.number, lane.frames = 1, 3
    lane.record_sent(100)
    lane.number, lane.frames = 2, 5
    assert lane.last == (1, 3)


def test_the_age_of_a_stream_is_what_the_faster_of_two_clocks_shows():
    lane = Lane("stream", 100.0)
    lane.number = lane.frames = 2
    lane.record_sent(101)
    told = lane.told("room", 160)
    assert (told.stream, told.age) == (["room", "stream", lane.born, 2, 2], 60)
    lane.born -= 7200  # the machine was suspended, and its other clock was set since
    assert lane.told("room", 160).age == pytest.approx(7200, abs=60)
    lane.born += 99_999
    assert lane.told("room", 160).age == 60
