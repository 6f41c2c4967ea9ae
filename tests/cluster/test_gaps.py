"""Which messages are missing: streams as one hub sees them, with the time passed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_etp.cluster.gaps import GapTracker, Loss
from django_etp.cluster.ledger import Told
from django_etp.cluster.messages import RoomMessage

JOINED = -10.0
BEFORE, AFTER = JOINED - 1000, JOINED + 5  # when streams began
GROUP = "etp.room.g"


def message(
    number: int, *, frames: int = 1, before: int | None = None, stream: str = "hub.1", age: float = 0.0
) -> RoomMessage:
    """Return a message of `frames` frames; those before it had as many each."""
    before = (number - 1) * frames if before is None else before
    return RoomMessage(GROUP, stream, 0.0, number, before, ["x"] * frames, age)


def tell(
    gaps: GapTracker,
    last: int,
    frames: int,
    now: float,
    *,
    began_at: float = AFTER,
    stream: str = "hub.1",
    measured_after: float | None = None,
    is_answer: bool = False,
) -> None:
    """Bring the last number of a stream, whose age was measured now."""
    told = Told([GROUP, stream, 0.0, last, frames], now - began_at)
    gaps.receive_last(told, now if measured_after is None else measured_after, now, is_answer=is_answer)


@pytest.fixture
def gaps() -> GapTracker:
    tracker = GapTracker()
    tracker.join(GROUP, JOINED)
    assert tracker.take_unclear(9) == [GROUP]
    return tracker


def losses(gaps: GapTracker, now: float, echoed_at: float | None = None) -> list[tuple[int, int]]:
    """Return messages and frames of each loss that is due."""
    return [(loss.messages, loss.frames) for loss in gaps.losses(now, now if echoed_at is None else echoed_at)]


def test_messages_in_order_are_delivered_and_nothing_is_missing(gaps):
    assert all(gaps.receive(message(number), 0) for number in (1, 2, 3))
    assert not gaps.needs_echo
    assert losses(gaps, 10) == []


# The first number of a stream


def test_a_stream_younger_than_the_join_must_begin_with_1(gaps):
    assert gaps.receive(message(4, frames=5), 0)
    assert losses(gaps, 1) == []  # its age is not known yet
    tell(gaps, 4, 20, 1)
    assert losses(gaps, 1) == [(3, 15)]
    assert losses(gaps, 100) == []


def test_a_stream_older_than_the_join_begins_with_the_first_number_seen(gaps):
    assert gaps.receive(message(4), 0)
    tell(gaps, 4, 4, 1, began_at=BEFORE)
    assert losses(gaps, 10) == []
    assert gaps.receive(message(6), 10)
    assert losses(gaps, 11) == [(1, 1)]


def test_a_message_says_itself_that_its_stream_is_older_than_the_join(gaps):
    assert gaps.receive(message(4, age=10.1), 0)
    assert gaps.take_unclear(9) == []
    assert losses(gaps, 100) == []


def test_a_message_of_an_older_version_says_no_age_and_seems_older(gaps):
    assert gaps.receive(RoomMessage(GROUP, "hub.1", 0.0, 4, 3, ["x"]), 0)
    assert losses(gaps, 100) == []


def test_a_stream_that_was_announced_before_the_join_is_older(gaps):
    gaps.join("etp.room.h", -1.0, frozenset({"hub.1"}))
    told = Told(["etp.room.h", "hub.1", 0.0, 7, 7], 5.0)
    gaps.receive_last(told, 0.0, 10.0)  # it was under way for so long that the stream seems younger
    assert gaps.take_unclear(9) == ["etp.room.h"]
    assert losses(gaps, 100, echoed_at=100) == []


@pytest.mark.parametrize(("began_at", "expected"), [(JOINED + 0.2, []), (JOINED + 0.4, [(1, 1)])])
def test_a_stream_that_began_with_the_join_may_be_older(gaps, began_at, expected):
    gaps.receive(message(2, age=0 - began_at), 0)
    tell(gaps, 2, 2, 1, began_at=began_at)
    assert losses(gaps, 10) == expected


# Doubts that nobody ends


def test_what_stays_in_doubt_is_reported_after_15_s(gaps):
    assert gaps.receive(message(4, frames=5, age=2), 0)
    assert losses(gaps, 14.9) == []
    assert losses(gaps, 15) == [(3, 15)]
    assert not gaps.receive(message(2), 15)
    tell(gaps, 4, 20, 16)
    assert losses(gaps, 100) == []


def test_a_stream_known_by_inexact_numbers_alone_is_reported_after_15_s(gaps):
    tell(gaps, 4, 8, 0, measured_after=-60)
    tell(gaps, 4, 8, 1, measured_after=-60, is_answer=True)
    assert losses(gaps, 14.9) == []
    assert losses(gaps, 15, echoed_at=14) == [(4, 8)]


@pytest.mark.parametrize(("began_at", "expected"), [(JOINED + 0.4, []), (JOINED + 0.6, [(3, 3)])])
def test_of_all_ages_the_one_counts_that_came_fastest(gaps, began_at, expected):
    """A stream may have begun shortly before the join, and every age takes its time to come here."""
    gaps.receive(message(4, age=0 - began_at - 5), 0)
    tell(gaps, 4, 4, 1, began_at=began_at + 3, measured_after=-60)
    gaps.receive(message(5, age=2 - began_at), 2)
    tell(gaps, 4, 4, 3, began_at=began_at + 1, measured_after=-60)
    assert losses(gaps, 20) == expected


def test_nothing_is_decided_while_nothing_can_arrive(gaps):
    gaps.receive(message(4, age=2), 0)
    gaps.restart(60)
    assert losses(gaps, 60) == []
    tell(gaps, 4, 4, 61, began_at=BEFORE)
    assert losses(gaps, 100) == []


def test_the_age_of_an_old_stream_is_less_exact(gaps):
    gaps.join("etp.room.h", -10_000)
    told = Told(["etp.room.h", "hub.1", 0.0, 1, 1], 9_995.0)
    gaps.receive_last(told, 0, 0)
    assert losses(gaps, 100, echoed_at=100) == []


def test_an_announcement_that_was_under_way_for_some_time_does_not_decide_but_an_answer_does(gaps):
    gaps.receive(message(3), 0)
    assert gaps.take_unclear(9) == [GROUP]
    tell(gaps, 3, 3, 1, measured_after=-9)
    assert losses(gaps, 10) == []
    assert gaps.take_unclear(9) == [GROUP]
    assert gaps.take_unclear(9) == []
    tell(gaps, 3, 3, 10, measured_after=9, is_answer=True)
    assert losses(gaps, 11) == [(2, 2)]


def test_nobody_is_asked_again_after_an_answer_that_is_not_exact(gaps):
    gaps.receive(message(3), 0)
    assert gaps.take_unclear(9) == [GROUP]
    tell(gaps, 3, 3, 1, measured_after=-9, is_answer=True)
    gaps.receive(message(4), 2)
    assert gaps.take_unclear(9) == []


def test_nobody_is_asked_about_a_stream_that_is_older_for_sure_or_that_misses_nothing(gaps):
    gaps.receive(message(3, age=60), 0)
    tell(gaps, 3, 3, 1, began_at=BEFORE, measured_after=-9)
    tell(gaps, 2, 2, 0, stream="hub.2", began_at=BEFORE)
    gaps.receive(message(1, stream="hub.2"), 0)
    gaps.receive(message(2, stream="hub.2"), 0)
    tell(gaps, 2, 2, 1, stream="hub.2", measured_after=-9)
    assert gaps.take_unclear(9) == []


def test_messages_in_doubt_are_delivered_if_they_arrive_and_are_not_missing_then(gaps):
    gaps.receive(message(4), 0)
    assert gaps.receive(message(2), 0.5)
    assert not gaps.receive(message(2), 0.5)
    tell(gaps, 4, 4, 1)
    assert losses(gaps, 10) == [(2, 2)]


def test_a_gap_is_reported_after_one_second_and_once(gaps):
    gaps.receive(message(1), 5)
    gaps.receive(message(3), 5)
    assert losses(gaps, 5.9) == []
    assert losses(gaps, 6) == [(1, 1)]
    assert losses(gaps, 7) == []


def test_a_loss_names_its_group(gaps):
    gaps.receive(message(1, frames=7), 0)
    gaps.receive(message(3, frames=7), 0)
    assert list(gaps.losses(1, 1)) == [Loss(GROUP, 1, 7)]


def test_a_late_message_fills_its_gap(gaps):
    for number in (1, 3):
        gaps.receive(message(number), 0)
    assert gaps.receive(message(2), 0.5)
    assert losses(gaps, 2) == []


def test_a_gap_filled_in_part_is_reported_for_the_rest(gaps):
    gaps.receive(message(1, frames=2), 0)
    gaps.receive(message(6, frames=2), 0)
    assert gaps.receive(message(3, frames=2), 0.5)
    assert losses(gaps, 1) == [(3, 6)]


def test_a_message_is_not_delivered_after_it_was_reported_as_lost(gaps):
    gaps.receive(message(1), 0)
    gaps.receive(message(3), 0)
    assert losses(gaps, 1) == [(1, 1)]
    assert not gaps.receive(message(2), 1)


def test_a_second_copy_is_not_delivered(gaps):
    for number in (1, 2, 4):
        gaps.receive(message(number), 0)
    assert not gaps.receive(message(4), 0)
    assert not gaps.receive(message(1), 0)
    assert gaps.receive(message(3), 0)
    assert not gaps.receive(message(3), 0)


def test_streams_are_counted_apart(gaps):
    gaps.receive(message(1, stream="a.1"), 0)
    gaps.receive(message(1, stream="b.1"), 0)
    gaps.receive(message(4, stream="b.1"), 0)
    gaps.receive(message(2, stream="a.1"), 0)
    assert losses(gaps, 1) == [(2, 2)]


def test_messages_of_a_group_not_joined_are_delivered_and_not_counted():
    gaps = GapTracker()
    assert gaps.receive(message(5), 0)
    assert gaps.receive(message(2), 0)
    tell(gaps, 9, 9, 0)
    assert not gaps.needs_echo


# The last numbers


def test_a_last_number_that_was_seen_says_nothing_new(gaps):
    gaps.receive(message(1), 0)
    gaps.receive(message(2), 0)
    tell(gaps, 2, 2, 0)
    tell(gaps, 1, 1, 0)
    assert not gaps.needs_echo


def test_a_gap_at_the_end_waits_for_an_echo_sent_after_it_was_noticed(gaps):
    gaps.receive(message(1), 0)
    tell(gaps, 3, 12, 5)
    assert losses(gaps, 60, echoed_at=5) == []
    assert losses(gaps, 60, echoed_at=5.1) == [(2, 11)]


def test_a_gap_at_the_end_waits_one_second_too(gaps):
    tell(gaps, 1, 1, 5)
    assert losses(gaps, 5.9) == []
    assert losses(gaps, 6) == [(1, 1)]


def test_messages_that_still_arrive_put_off_the_loss_of_those_behind_them(gaps):
    tell(gaps, 3, 3, 0)
    assert gaps.receive(message(1), 60)
    assert losses(gaps, 60.9, echoed_at=60.8) == []
    assert gaps.receive(message(2), 60.9)
    assert losses(gaps, 61.5, echoed_at=61.4) == []
    assert losses(gaps, 61.9, echoed_at=61.4) == [(1, 1)]


def test_messages_behind_their_last_number_fill_the_gap(gaps):
    tell(gaps, 2, 2, 0)
    assert gaps.receive(message(1), 0)
    assert gaps.receive(message(2), 0)
    assert losses(gaps, 60) == []


def test_a_whole_stream_can_be_missing(gaps):
    tell(gaps, 3, 30, 0)
    assert losses(gaps, 1) == [(3, 30)]


def test_the_last_number_of_an_older_stream_never_seen_is_its_start(gaps):
    tell(gaps, 3, 30, 0, began_at=BEFORE)
    assert losses(gaps, 2) == []
    assert gaps.receive(message(5, before=37), 2)
    assert losses(gaps, 4) == [(1, 7)]


@pytest.mark.parametrize(("after", "missing"), [(0.4, []), (0.6, [(1, 1)])])
def test_a_number_announced_with_the_join_is_no_start(after, missing):
    """The announcement was under way; a message that followed it was sent before the join, too."""
    gaps = GapTracker()
    gaps.join(GROUP, 100)
    tell(gaps, 3, 3, 100 + after, began_at=BEFORE)
    gaps.receive(message(5, age=1100), 101)
    assert losses(gaps, 200) == missing


def test_an_answer_with_the_join_is_a_start():
    gaps = GapTracker()
    gaps.join(GROUP, 100)
    tell(gaps, 3, 3, 100.1, began_at=BEFORE, is_answer=True)
    gaps.receive(message(5, age=1100), 101)
    assert losses(gaps, 200) == [(1, 1)]


def test_a_message_of_an_older_stream_may_be_overtaken_by_its_last_number(gaps):
    tell(gaps, 3, 3, 0, began_at=BEFORE)
    assert gaps.receive(message(2), 0.1)
    assert gaps.receive(message(3), 0.1)
    assert not gaps.receive(message(3), 0.1)
    assert gaps.receive(message(4), 0.1)
    assert losses(gaps, 10) == []
    assert not gaps.needs_echo


def test_what_was_overtaken_comes_before_an_echo_does(gaps):
    tell(gaps, 3, 3, 5, began_at=BEFORE)
    assert losses(gaps, 60, echoed_at=5) == []
    assert gaps.receive(message(3), 60)
    assert losses(gaps, 61, echoed_at=60.1) == []
    assert not gaps.needs_echo
    assert not gaps.receive(message(2), 62)


def test_a_stream_goes_on_after_its_last_number(gaps):
    gaps.receive(message(1), 0)
    tell(gaps, 1, 1, 1)
    assert gaps.receive(message(2), 2)
    tell(gaps, 3, 3, 3)
    assert losses(gaps, 10) == [(1, 1)]


# Joining and leaving


def test_the_publishers_to_a_group_are_asked_once_it_is_joined():
    gaps = GapTracker()
    for number in range(5):
        gaps.join(f"etp.room.{number}", JOINED)
    gaps.join("etp.room.0", JOINED + 1)
    gaps.leave("etp.room.1")
    assert [gaps.take_unclear(2) for _ in "123"] == [["etp.room.0", "etp.room.2"], ["etp.room.3", "etp.room.4"], []]


def test_a_join_confirmed_again_changes_nothing(gaps):
    gaps.join(GROUP, AFTER + 10)
    gaps.receive(message(2), 0)
    tell(gaps, 2, 2, 0)
    assert losses(gaps, 1) == [(1, 1)]


def test_a_group_left_is_forgotten_with_its_gaps(gaps):
    gaps.receive(message(2), 0)
    gaps.leave(GROUP)
    assert not gaps.needs_echo
    assert losses(gaps, 10) == []


def test_a_group_joined_anew_does_not_miss_what_came_meanwhile(gaps):
    gaps.receive(message(1), 0)
    gaps.leave(GROUP)
    gaps.join(GROUP, AFTER + 10)
    assert gaps.receive(message(7), 0)
    assert losses(gaps, 10) == []


def test_a_stream_quiet_for_half_an_hour_is_forgotten(gaps):
    gaps.receive(message(5), 0)
    gaps.forget_old(1801)
    assert gaps.receive(message(1), 1801)


def test_a_stream_with_a_gap_is_not_forgotten(gaps):
    gaps.receive(message(1), 0)
    gaps.receive(message(3), 0)
    gaps.forget_old(1801)
    assert losses(gaps, 1801) == [(1, 1)]


def test_a_stream_is_not_forgotten_for_a_silence_of_its_receiver(gaps):
    gaps.receive(message(1), 0)
    gaps.restart(3600)
    gaps.forget_old(3601)
    gaps.receive(message(3), 3601)
    assert losses(gaps, 3602) == [(1, 1)]


def test_doubts_leave_with_their_group(gaps):
    gaps.receive(message(2), 0)
    gaps.leave(GROUP)
    assert losses(gaps, 100) == []


# What no publisher sends


def test_a_number_without_measure_costs_nothing(gaps):
    gaps.receive(message(1), 0)
    gaps.receive(message(2**63 - 1, before=2**63 - 1), 0)
    tell(gaps, 2**62, 2**62, 0, stream="hub.2")
    assert losses(gaps, 1) == [(2**63 - 3, 2**63 - 2), (2**62, 2**62)]


def test_no_loss_has_less_than_no_frames(gaps):
    gaps.receive(message(1, frames=10), 0)
    gaps.receive(message(5, before=4), 0)
    assert losses(gaps, 1) == [(3, 0)]


# All of it


@given(st.data())
def test_received_and_lost_add_up_to_what_was_sent(data):
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=12))
    stream = [
        RoomMessage(GROUP, "hub.1", AFTER, index + 1, sum(sizes[:index]), ["x"] * size, 0.0)
        for index, size in enumerate(sizes)
    ]
    # Some are lost, some come twice, some late; the last number is told at any time, and at the end.
    arrivals = data.draw(st.lists(st.sampled_from([*stream, None]), max_size=24))
    gaps = GapTracker()
    gaps.join(GROUP, JOINED)
    received = lost = 0
    now = 0.0
    for arrival in arrivals:
        now += data.draw(st.sampled_from([0.0, 0.3, 1.1]))
        if arrival is None:
            tell(gaps, len(stream), sum(sizes), now)
        elif gaps.receive(arrival, now):
            received += len(arrival.frames)
        lost += sum(loss.frames for loss in gaps.losses(now, data.draw(st.sampled_from([0.0, now]))))
    tell(gaps, len(stream), sum(sizes), now)
    lost += sum(loss.frames for loss in gaps.losses(now + 2, now + 1))
    assert received + lost == sum(sizes)
    assert not gaps.needs_echo


@given(st.data())
def test_no_message_is_dropped_or_missed_where_last_numbers_overtake_them(data):
    first = data.draw(st.integers(1, 5))
    last = first + data.draw(st.integers(0, 5))
    born = data.draw(st.sampled_from([BEFORE, AFTER] if first == 1 else [BEFORE]))
    gaps = GapTracker()
    gaps.join(GROUP, JOINED)
    now = 0.0
    for number in range(first, last + 1):
        for told in data.draw(st.lists(st.integers(first, last), max_size=2)):
            tell(gaps, told, told, now, began_at=born)
        now += 1
        assert losses(gaps, now, echoed_at=0.0) == []
        assert gaps.receive(message(number, age=now - born), now)
    assert losses(gaps, now + 10) == []
    assert not gaps.needs_echo


# The bound of what is remembered


@pytest.fixture
def few(gaps: GapTracker, monkeypatch: pytest.MonkeyPatch) -> GapTracker:
    """A tracker that remembers four streams, of which four are there."""
    monkeypatch.setattr("django_etp.cluster.gaps._MOST_STREAMS", 4)
    for number in range(4):
        gaps.receive(message(1, stream=f"hub.{number}"), number)
    return gaps


def remembered(gaps: GapTracker) -> list[str]:
    return list(gaps._groups[GROUP].streams)


def test_the_streams_that_were_seen_last_are_remembered(few):
    few.receive(message(2, stream="hub.0"), 5)
    assert few.receive(message(1, stream="hub.4"), 6)
    assert remembered(few) == ["hub.0", "hub.4"]
    assert few.receive(message(1, stream="hub.5"), 6)
    assert not few.receive(message(2, stream="hub.0"), 6)  # a duplicate
    few.leave(GROUP)
    few.join(GROUP, 7)
    for number in range(9):
        few.receive(message(1, stream=f"hub.{number}"), 8)
    assert len(remembered(few)) <= 4


def test_a_stream_that_comes_again_after_it_was_forgotten_is_not_reported(few):
    few.receive(message(1, stream="hub.9"), 5)
    assert "hub.0" not in remembered(few)
    assert few.receive(message(2, stream="hub.0", age=5.0), 5)
    tell(few, 2, 2, 6, began_at=0, stream="hub.0", is_answer=True)
    assert losses(few, 100) == []


def test_streams_with_gaps_are_remembered_and_further_ones_delivered(few, caplog):
    for number in range(4):
        few.receive(message(3, stream=f"hub.{number}"), 4)
    for number in range(4, 20):
        assert few.receive(message(1, stream=f"hub.{number}"), 5)
        tell(few, 1, 1, 5, stream=f"hub.{number}0")
    assert len(remembered(few)) == 4
    assert losses(few, 10) == [(1, 1)] * 4
    assert len(caplog.records) == 1
    assert few.receive(message(1, stream="hub.4"), 10)
    assert "hub.4" in remembered(few)
