"""Room traffic as one node receives it; the layer is not needed."""

import math
from typing import Any

import pytest

from django_etp.cluster.gaps import Loss
from django_etp.cluster.liveness import Liveness
from django_etp.cluster.messages import Echo, Evicted, Foreign, Frame, Malformed, Message, Numbers, RoomMessage
from django_etp.cluster.traffic import Traffic
from tests.support.hurry import hurried, stand_still

GROUP = "etp.room.r"


class Site:
    """A hub that keeps what it is given, and its traffic."""

    id = "me"

    def __init__(self) -> None:
        self.frames: list[tuple[str, Frame]] = []
        self.foreign: list[Foreign] = []
        self.liveness = Liveness(receives_rooms=True)
        self.traffic = Traffic(self, self.liveness, lambda stream: stream.startswith("me."))  # type: ignore[arg-type]

    def deliver_frame(self, group: str, frame: Frame) -> None:
        self.frames.append((group, frame))

    def deliver_foreign(self, message: Foreign) -> None:
        self.foreign.append(message)


def message(number: int, *texts: str, stream: str = "other.1", before: int | None = None) -> RoomMessage:
    return RoomMessage(GROUP, stream, 0.0, number, number - 1 if before is None else before, list(texts))


async def test_frames_are_delivered_in_order_with_their_group():
    site = Site()
    site.traffic.receive(message(1, "a", "b"))
    assert site.frames == [(GROUP, Frame("a")), (GROUP, Frame("b"))]


async def test_own_frames_and_duplicates_are_not_delivered():
    site = Site()
    site.traffic.joined(GROUP)
    site.traffic.receive(message(1, "own", stream="me.1"))
    site.traffic.receive(message(1, "once"))
    site.traffic.receive(message(1, "once"))
    assert [frame.text for _, frame in site.frames] == ["once"]


async def test_nothing_of_a_message_with_a_malformed_frame_is_delivered():
    site = Site()
    wrong: Any = 7
    with pytest.raises(Malformed):
        site.traffic.receive(message(1, "a", wrong))
    assert site.frames == []


async def test_an_event_of_other_code_is_delivered():
    site = Site()
    event = Foreign("lobby", "news")
    site.traffic.receive(event)
    assert site.foreign == [event]


@pytest.mark.parametrize("wrong", [Evicted("me"), Echo("another", 1)], ids=repr)
async def test_a_message_that_belongs_elsewhere_is_malformed(wrong: Message) -> None:
    with pytest.raises(Malformed, match="does not belong"):
        Site().traffic.receive(wrong)


@hurried
async def test_missing_messages_are_a_loss_after_a_second():
    site = Site()
    site.traffic.joined(GROUP)
    site.traffic.receive(message(1, "a"))
    site.traffic.receive(message(4, "d", before=5))
    assert list(site.traffic.losses(0.9)) == []
    assert list(site.traffic.losses(1)) == [Loss(GROUP, messages=2, frames=4)]
    assert list(site.traffic.losses(2)) == []


@hurried
async def test_messages_missing_at_the_end_of_a_stream_are_lost_once_an_echo_has_come_back():
    site = Site()
    site.traffic.joined(GROUP)
    stand_still(1)
    site.traffic.receive_numbers(Numbers([[GROUP, "other.1", 0.0, 2, 3]], [0.5]), measured_after=1)
    assert site.traffic.needs_echo(1)
    echo = site.liveness.next_echo(1.1)
    assert not site.traffic.needs_echo(1.5)
    assert site.traffic.needs_echo(1.6)
    assert list(site.traffic.losses(10)) == []
    site.traffic.receive(Echo("me", echo))
    assert list(site.traffic.losses(10)) == [Loss(GROUP, messages=2, frames=3)]
    assert not site.traffic.needs_echo(10)


@hurried
async def test_nothing_is_missing_from_a_group_that_was_left():
    site = Site()
    site.traffic.joined(GROUP)
    site.traffic.receive(message(1, "a"))
    site.traffic.receive(message(3, "c"))
    site.traffic.leave(GROUP)
    assert list(site.traffic.losses(10)) == []


async def test_own_numbers_count_for_nothing():
    site = Site()
    site.traffic.joined(GROUP)
    site.traffic.receive_numbers(Numbers([[GROUP, "me.1", 0.0, 2, 3]], [0.5]), measured_after=0)
    assert not site.traffic.needs_echo(10**9)


@pytest.mark.parametrize(
    "stream",
    [
        7,
        [],
        [GROUP, "s", 1.0, 0, 0],
        [GROUP, "s", 1.0, 3, 2],
        [GROUP, "s", "1", 1, 1],
        [GROUP, "s", 1.0, 1, 1, 1],
        [GROUP, "s" * 101, 1.0, 1, 1],
    ],
    ids=repr,
)
async def test_a_number_that_no_publisher_sends_is_malformed(stream: object) -> None:
    with pytest.raises(Malformed, match="last number"):
        Site().traffic.receive_numbers(Numbers([stream], [1.5]), measured_after=0)


@pytest.mark.parametrize("ages", [[-1.0], [math.nan], ["1"], [None], [1.0, 2.0]], ids=repr)
async def test_an_age_that_no_publisher_sends_is_malformed(ages: list[object]) -> None:
    with pytest.raises(Malformed, match="age"):
        Site().traffic.receive_numbers(Numbers([[GROUP, "s", 1.0, 1, 1]], ages), measured_after=0)


@hurried
async def test_a_publisher_of_an_older_version_sends_no_ages_so_its_first_number_is_not_judged():
    site = Site()
    site.traffic.joined(GROUP)
    stand_still(100)
    site.traffic.receive(message(3, "c"))
    site.traffic.receive_numbers(Numbers([[GROUP, "other.1", 0.0, 3, 3]]), measured_after=100)
    assert list(site.traffic.losses(200)) == []
    assert site.traffic.take_unclear(9) == [GROUP]  # as after each join


@hurried
async def test_what_others_announce_is_remembered_but_no_answers_and_no_own_numbers():
    site = Site()
    told = [[GROUP, "other.1", 0.0, 2, 3], [GROUP, "me.1", 0.0, 2, 3]]
    site.traffic.receive_numbers(Numbers(told, [5.0, 5.0]), measured_after=0)
    site.traffic.receive_numbers(Numbers([[GROUP, "more.1", 0.0, 2, 3]], [5.0], asked=1), measured_after=0)
    assert list(site.traffic.overheard.recall((), 0, 10)) == [(told[0], 15.0)]


@hurried
async def test_any_message_proves_that_the_channel_is_read():
    site = Site()
    site.liveness.record_control(5)
    stand_still(5)
    site.traffic.receive(message(1, "own", stream="me.1"))
    assert site.liveness.silent_for(6) == 1
