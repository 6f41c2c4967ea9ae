"""Which last numbers are remembered, with the time passed in."""

from typing import Any

import pytest

from django_etp.cluster.ledger import Ledger, Told


def stream(number: int, *, group: str = "g", last: int = 1) -> list[Any]:
    return [group, f"hub.{number}", 0.0, last, last]


def recalled(ledger: Ledger, *groups: str, since: float = 0.0, now: float = 100.0) -> list[Told]:
    return list(ledger.recall(groups, since, now))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def test_the_last_number_of_each_stream_is_remembered_with_its_age_at_the_time(ledger):
    ledger.record(Told(stream(1), 5.0), 10, 10)
    ledger.record(Told(stream(1, last=7), 15.0), 20, 20)
    ledger.record(Told(stream(2), 0.0), 30, 30)
    assert recalled(ledger) == [(stream(1, last=7), 95.0), (stream(2), 70.0)]


def test_streams_are_found_by_their_group_and_by_the_time_of_their_last_message(ledger):
    ledger.record(Told(stream(1, group="a"), 5.0), 10, 5)
    ledger.record(Told(stream(2, group="b"), 5.0), 10, 10)
    assert recalled(ledger, "a", "c") == [(stream(1, group="a"), 95.0)]
    assert recalled(ledger, since=6) == [(stream(2, group="b"), 95.0)]


def test_the_streams_to_a_group_are_named(ledger):
    for number, group in enumerate("abb"):
        ledger.record(Told(stream(number, group=group), 5.0), 10, 5)
    assert [ledger.names(group) for group in "abc"] == [{"hub.0"}, {"hub.1", "hub.2"}, set()]


def test_a_number_that_is_recorded_again_is_not_newer(ledger):
    ledger.record(Told(stream(1), 5.0), 10, 10)
    ledger.record(Told(stream(1), 15.0), 20, 20)
    assert recalled(ledger, since=11) == []


def test_a_number_that_changed_lately_can_be_left_out(ledger):
    ledger.record(Told(stream(1), 5.0), 95, 95)
    ledger.record(Told(stream(2), 5.0), 98, 98)
    assert [told.stream for told in ledger.recall((), 0.0, 100.0, unchanged_for=3)] == [stream(1)]


def test_of_very_many_streams_those_recorded_last_are_remembered(ledger):
    for number in range(10_010):
        ledger.record(Told(stream(number), 0.0), 0, 0)
    ledger.record(Told(stream(10, last=2), 0.0), 0, 0)
    assert [each.stream[1] for each in recalled(ledger)] == [*(f"hub.{n}" for n in range(11, 10_010)), "hub.10"]


def test_streams_are_forgotten_after_a_day(ledger):
    ledger.record(Told(stream(1), 0.0), 0, 0)
    ledger.record(Told(stream(2), 0.0), 100, 100)
    ledger.forget_old(86_450)
    assert [each.stream for each in recalled(ledger)] == [stream(2)]
