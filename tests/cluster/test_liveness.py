"""Whether a hub still hears, with the time passed in."""

import pytest

from django_etp.cluster.liveness import Liveness

INTERVAL = 2.0


@pytest.fixture
def pulse() -> Liveness:
    pulse = Liveness(hears_rooms=True)
    pulse.restart(0)
    return pulse


def test_a_hub_is_deaf_when_what_it_sends_does_not_come_back(pulse):
    assert not pulse.is_deaf(3, INTERVAL)
    assert pulse.is_deaf(3.1, INTERVAL)


def test_a_hub_is_deaf_when_one_of_its_channels_brings_nothing(pulse):
    pulse.record_control(5)
    assert pulse.is_deaf(5, INTERVAL)
    pulse.record_traffic(5)
    assert not pulse.is_deaf(5, INTERVAL)


def test_who_hears_no_rooms_needs_no_traffic():
    pulse = Liveness(hears_rooms=False)
    pulse.record_control(5)
    assert pulse.silent_for(7) == 2


def test_a_restart_counts_from_then(pulse):
    pulse.restart(100)
    assert pulse.silent_for(101) == 1


def test_beats_are_numbered_and_known_when_they_come_back(pulse):
    first, second = pulse.next_beat(), pulse.next_beat()
    assert not pulse.has_received(first)
    pulse.record_beat(second)
    assert pulse.has_received(first)
    assert pulse.has_received(second)
    assert not pulse.has_received(pulse.next_beat())


def test_an_echo_tells_when_it_was_sent(pulse):
    first, second = pulse.next_echo(1), pulse.next_echo(2)
    assert pulse.last_echo_at() == 2
    pulse.record_echo(second)
    assert pulse.echoed_at == 2
    pulse.record_echo(first)
    assert pulse.echoed_at == 2
    assert pulse.last_echo_at() == 0


def test_an_echo_that_was_never_sent_tells_nothing(pulse):
    pulse.record_echo(17)
    assert pulse.echoed_at == 0


def test_echoes_that_never_come_back_are_forgotten(pulse):
    for now in range(1000):
        pulse.next_echo(now)
    assert len(vars(pulse)["_echo_sent_at"]) == 100


def test_a_hub_knows_since_when_it_hears(pulse):
    assert pulse.hears_for(1) == 0
    pulse.record_control(2)
    pulse.record_control(4)
    assert pulse.hears_for(5) == 3
    pulse.record_deafness()
    assert pulse.hears_for(6) == 0
    pulse.record_control(7)
    assert pulse.hears_for(8) == 1
