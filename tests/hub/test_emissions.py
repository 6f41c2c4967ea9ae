"""Sends to several rooms, and relayed events, are delivered once."""

import pytest

from django_etp.hub import emissions as module
from django_etp.hub.emissions import RELAYED, RELAYED_FOR, REMEMBERED, Emissions


def test_a_send_is_first_once() -> None:
    emissions = Emissions()
    assert [emissions.is_first("a"), emissions.is_first("b"), emissions.is_first("a")] == [True, True, False]


def test_a_send_of_this_hub_is_not_delivered_again() -> None:
    emissions = Emissions()
    first, second = emissions.new(), emissions.new()
    assert first != second
    assert not emissions.is_first(first)


def test_the_oldest_sends_are_forgotten() -> None:
    emissions = Emissions()
    for number in range(REMEMBERED + 1):
        emissions.is_first(str(number))
    assert not emissions.is_first("1")
    assert emissions.is_first("0")


def test_a_long_name_is_cut():
    emissions = Emissions()
    assert emissions.is_first("x" * 1_000_000)
    assert not emissions.is_first("x" * 1_000_000)
    assert max(map(len, emissions._names)) == 64


def test_sends_of_a_batch_are_first_once_in_their_order() -> None:
    names = Emissions().new_batch()
    first, second, third = next(names), next(names), next(names)
    emissions = Emissions()
    assert [emissions.is_first(name) for name in (first, second, first, second, third, "x", third)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]


class Clock:
    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_a_relayed_event_is_remembered_for_a_minute_however_many_others_come(clock: Clock) -> None:
    emissions = Emissions()
    assert emissions.is_first(f"{RELAYED}old")
    clock.now += RELAYED_FOR - 1
    for number in range(2 * REMEMBERED):
        emissions.is_first(f"{RELAYED}{number}")
        emissions.is_first(str(number))
    assert not emissions.is_first(f"{RELAYED}old")
    clock.now += RELAYED_FOR - 1
    assert not emissions.is_first(f"{RELAYED}old")  # it came again meanwhile
    clock.now += 2 * RELAYED_FOR
    assert emissions.is_first(f"{RELAYED}old")


def test_a_relayed_event_is_known_without_being_recorded(clock: Clock) -> None:
    emissions = Emissions()
    assert not emissions.has_relayed(f"{RELAYED}1")
    emissions.is_first(f"{RELAYED}1")
    assert emissions.has_relayed(f"{RELAYED}1")
    clock.now += RELAYED_FOR
    emissions.is_first(f"{RELAYED}2")
    assert emissions.has_relayed(f"{RELAYED}1")


def test_the_memory_of_relayed_events_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_RELAYED", 10)
    emissions = Emissions()
    names = [f"{RELAYED}{number}" for number in range(100)]
    for name in names:
        emissions.is_first(name)
    assert names[-20:] == [name for name in names if emissions.has_relayed(name)]
