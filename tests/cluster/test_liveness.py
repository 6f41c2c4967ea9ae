"""Whether a node still receives its own messages, with the time passed in."""

import pytest

from django_etp.cluster.liveness import Liveness

INTERVAL = 2.0


@pytest.fixture
def liveness() -> Liveness:
    liveness = Liveness(receives_rooms=True)
    liveness.restart(0)
    return liveness


def test_a_node_is_deaf_when_its_own_messages_do_not_come_back(liveness):
    assert not liveness.is_deaf(3, INTERVAL)
    assert liveness.is_deaf(3.1, INTERVAL)


def test_a_node_is_deaf_when_one_of_its_channels_brings_nothing(liveness):
    liveness.record_control(5)
    assert liveness.is_deaf(5, INTERVAL)
    liveness.record_traffic(5)
    assert not liveness.is_deaf(5, INTERVAL)


def test_a_node_that_receives_no_rooms_needs_no_traffic():
    liveness = Liveness(receives_rooms=False)
    liveness.record_control(5)
    assert liveness.silent_for(7) == 2


def test_a_restart_counts_from_then(liveness):
    liveness.restart(100)
    assert liveness.silent_for(101) == 1


def test_beats_are_numbered_and_known_when_they_come_back(liveness):
    first, second = liveness.next_beat(1), liveness.next_beat(2)
    assert not liveness.has_received(first)
    liveness.record_beat(second)
    assert liveness.has_received(first)
    assert liveness.has_received(second)
    assert liveness.returned_at == 2
    assert not liveness.has_received(liveness.next_beat(3))


def test_an_echo_that_comes_back_shows_when_it_was_sent(liveness):
    first, second = liveness.next_echo(1), liveness.next_echo(2)
    assert liveness.last_echo_at() == 2
    liveness.record_echo(second, 3)
    assert liveness.echoed_at == 2
    liveness.record_echo(first, 4)
    assert liveness.echoed_at == 2
    assert liveness.last_echo_at() == 0


def test_an_echo_that_was_never_sent_is_ignored(liveness):
    liveness.record_echo(17, 1)
    assert liveness.echoed_at == 0


def test_the_lag_is_that_of_the_last_echo_or_of_one_that_takes_longer(liveness):
    first, lost = liveness.next_echo(1), liveness.next_echo(3)
    assert liveness.lag(4) == 3
    liveness.record_echo(first, 5)
    assert liveness.lag(5) == 4
    assert liveness.lag(9) == 6
    liveness.record_echo(liveness.next_echo(9), 9.5)
    assert liveness.lag(20) == 0.5
    liveness.record_echo(lost, 20)  # later ones came before it
    assert liveness.lag(20) == 0.5


def test_echoes_that_never_come_back_are_forgotten(liveness):
    for now in range(1000):
        liveness.next_echo(now)
    assert len(vars(liveness)["_echo_sent_at"]) == 100


def test_a_node_knows_for_how_long_it_has_received(liveness):
    assert liveness.receives_for(1) == 0
    liveness.record_control(2)
    liveness.record_control(4)
    assert liveness.receives_for(5) == 3
    liveness.record_deafness()
    assert liveness.receives_for(6) == 0
    liveness.record_control(7)
    assert liveness.receives_for(8) == 1


def test_a_node_knows_for_how_long_the_broker_has_had_a_message_without_a_return(liveness):
    echo, beat = liveness.next_echo(1), liveness.next_beat(1)
    assert liveness.unheard_for(2) == 0
    liveness.record_echo_taken(echo, 2)
    liveness.record_echo_taken(liveness.next_echo(3), 3)
    assert liveness.unheard_for(5) == 3
    liveness.record_traffic(5)
    assert liveness.unheard_for(6) == 0
    liveness.record_beat_taken(beat, 6)
    assert liveness.unheard_for(7) == 1
    liveness.expect_nothing()
    assert liveness.unheard_for(8) == 0


def test_messages_that_are_back_before_the_broker_confirms_them_are_not_expected(liveness):
    echo, beat = liveness.next_echo(1), liveness.next_beat(1)
    liveness.record_echo(echo, 1)
    liveness.record_beat(beat)
    liveness.record_echo_taken(echo, 2)
    liveness.record_beat_taken(beat, 2)
    assert liveness.unheard_for(9) == 0


def test_a_silence_of_more_than_3_s_is_told_once_it_is_over(liveness):
    for now in (1, 4, 4.5):
        liveness.record_control(now)
    assert liveness.take_silence() == 0
    liveness.restart(60)
    assert liveness.take_silence() == 0
    for now in (64.5, 65, 69):
        liveness.record_control(now)
    assert liveness.take_silence() == 60
    assert liveness.take_silence() == 0


def test_beats_that_never_come_back_are_forgotten(liveness):
    for now in range(1000):
        liveness.next_beat(now)
    assert len(vars(liveness)["_beat_sent_at"]) == 100
