"""The other nodes that live, with the time passed in."""

from itertools import count

import pytest

from django_etp.cluster.directory import Directory, beat_interval
from django_etp.cluster.messages import Beat

_numbers = count(1)


def beat(
    hub: str = "a", *, number: int = 0, interval: float = 2.0, is_serving: bool = True, is_last: bool = False
) -> Beat:
    return Beat(
        hub,
        number or next(_numbers),
        interval,
        f"{hub}-traffic",
        f"{hub}-control",
        is_serving=is_serving,
        is_last=is_last,
    )


def test_a_node_that_sent_a_heartbeat_is_known():
    directory = Directory()
    directory.record(beat("a"), 0)
    directory.record(beat("b"), 0)
    assert directory.serving == {"a", "b"}
    assert len(directory) == 2
    assert directory.knows("a")
    assert not directory.knows("c")


def test_a_node_without_connections_is_known_but_not_serving():
    directory = Directory()
    directory.record(beat(is_serving=False), 0)
    assert directory.serving == frozenset()
    assert len(directory) == 1
    directory.record(beat(is_serving=True), 0)
    assert directory.serving == {"a"}
    directory.record(beat(is_serving=False), 0)
    assert directory.serving == frozenset()


def test_a_beat_that_was_overtaken_by_a_later_one_counts_for_nothing():
    directory = Directory()
    directory.record(beat(number=8, is_serving=True), 0)
    directory.record(beat(number=7, is_serving=False), 5)
    assert directory.serving == {"a"}
    assert directory.expire(6.1)


def test_a_beat_that_was_overtaken_by_the_last_one_revives_no_node():
    directory = Directory()
    directory.record(beat(number=8, is_last=True), 0)
    directory.record(beat(number=7), 0)
    assert len(directory) == 0
    assert directory.is_gone("a")


def test_a_node_that_announces_its_end_is_forgotten_at_once():
    directory = Directory()
    directory.record(beat(), 0)
    directory.record(beat(is_last=True), 0)
    assert len(directory) == 0
    assert directory.is_gone("a")


def test_the_last_beat_of_an_unknown_node_does_not_make_it_known():
    directory = Directory()
    directory.record(beat(is_last=True), 0)
    assert directory.serving == frozenset()


def test_a_node_lives_while_it_missed_three_beats_or_fewer():
    directory = Directory()
    directory.record(beat(interval=2), 10)
    assert directory.expire(16) == []
    assert directory.serving == {"a"}


def test_a_node_that_missed_three_beats_is_gone_once_with_its_last_beat():
    directory = Directory()
    last = beat(interval=2)
    directory.record(last, 10)
    assert directory.expire(16.1) == [last]
    assert directory.expire(16.1) == []
    assert directory.serving == frozenset()
    assert directory.is_gone("a")


def test_each_node_is_judged_by_its_own_interval():
    directory = Directory()
    directory.record(beat("a", interval=2), 0)
    directory.record(beat("b", interval=5), 0)
    assert [last.hub for last in directory.expire(7)] == ["a"]


def test_each_beat_begins_a_nodes_time_anew():
    directory = Directory()
    directory.record(beat(), 0)
    directory.record(beat(), 5)
    assert directory.expire(11) == []


def test_a_restart_gives_all_their_full_time_again():
    directory = Directory()
    directory.record(beat(), 0)
    directory.restart(100)
    assert directory.expire(106) == []
    assert directory.expire(107)


def test_a_heartbeat_is_late_a_second_after_it_was_due():
    directory = Directory()
    directory.record(beat("a", interval=2), 0)
    directory.record(beat("b", interval=5), 0)
    directory.record(beat("not asked", is_serving=False), 0)
    assert directory.late(3) == frozenset()
    assert directory.late(3.1) == {"a"}
    assert directory.late(6.1) == {"a", "b"}
    directory.restart(6.1)
    assert directory.late(6.1) == frozenset()


def test_only_a_node_that_had_expired_is_reported_when_it_comes_back():
    directory = Directory()
    assert not directory.record(beat("a"), 0)
    assert not directory.record(beat("b"), 0)
    directory.record(beat("b", is_last=True), 0)
    directory.expire(10)
    assert directory.record(beat("a"), 11)
    assert not directory.record(beat("b"), 11)
    assert not directory.record(beat("a"), 12)
    assert directory.serving == {"a", "b"}
    assert not directory.is_gone("a")


def test_those_gone_are_remembered_for_ten_minutes():
    directory = Directory()
    directory.record(beat("dead"), 0)
    directory.record(beat("ended", is_last=True), 0)
    directory.expire(7)
    directory.expire(600)
    assert directory.is_gone("dead")
    assert directory.is_gone("ended")
    directory.expire(608)
    assert not directory.is_gone("dead")
    assert not directory.is_gone("ended")


def test_a_node_was_heard_of_by_any_heartbeat_even_its_last():
    directory = Directory()
    directory.record(beat("a"), 0)
    directory.record(beat("b", is_last=True), 0)
    directory.record(beat("dead", interval=1), 0)
    directory.expire(4)
    assert directory.unheard_of(frozenset(["a", "b", "dead", "c"])) == {"c"}


def test_the_more_nodes_the_rarer_their_beats():
    assert [beat_interval(hubs) for hubs in (1, 20, 50, 600)] == [2.0, 2.0, 5.0, 60.0]


def test_beats_are_never_further_apart_than_a_minute():
    assert beat_interval(100_000) == 60.0


# Heartbeats that others have forged


def test_one_forged_number_does_not_make_a_living_node_expire():
    directory = Directory()
    directory.record(beat("a", number=5), 0)
    directory.record(beat("a", number=2**63 - 1), 1)
    directory.record(beat("a", number=6), 2)
    directory.record(beat("a", number=7), 4)
    directory.record(beat("a", number=8), 6)
    assert directory.expire(11) == []
    assert directory.serving == {"a"}


def test_one_forged_end_does_not_hide_a_living_node():
    directory = Directory()
    directory.record(beat("a", number=5), 0)
    directory.record(beat("a", number=1000, is_last=True), 1)
    assert directory.serving == frozenset()
    directory.record(beat("a", number=6), 2)
    directory.record(beat("a", number=7), 4)
    assert directory.serving == {"a"}


def test_several_beats_that_were_overtaken_revive_no_node():
    directory = Directory()
    directory.record(beat("a", number=9, is_last=True), 0)
    for number in (3, 4, 5, 2):
        directory.record(beat("a", number=number), 0.1)
    assert directory.serving == frozenset()


def test_a_bounded_number_of_nodes_is_known_with_one_line_in_the_log(caplog: pytest.LogCaptureFixture):
    directory = Directory()
    directory.record(beat("first"), 0)
    for number in range(3000):
        directory.record(beat(f"{number:016x}"), 0)
    assert len(directory) == 2000
    assert [record.getMessage()[:45] for record in caplog.records] == ["More than 2,000 processes sent heartbeats on "]
    directory.record(beat("first"), 5)
    assert directory.expire(9)
    assert directory.serving == {"first"}
    for number in range(3000):
        directory.record(beat(f"{number:016x}", is_last=True), 9)
    assert not directory.is_gone(f"{0:016x}")
    assert directory.is_gone(f"{2999:016x}")
