"""Which other hubs live, with the time passed in."""

from itertools import count

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


def test_a_hub_heard_of_is_known():
    peers = Directory()
    peers.record(beat("a"), 0)
    peers.record(beat("b"), 0)
    assert peers.serving == {"a", "b"}
    assert len(peers) == 2


def test_a_hub_without_connections_is_known_but_not_asked():
    peers = Directory()
    peers.record(beat(is_serving=False), 0)
    assert peers.serving == frozenset()
    assert len(peers) == 1
    peers.record(beat(is_serving=True), 0)
    assert peers.serving == {"a"}
    peers.record(beat(is_serving=False), 0)
    assert peers.serving == frozenset()


def test_a_beat_that_was_overtaken_by_a_later_one_counts_for_nothing():
    peers = Directory()
    peers.record(beat(number=8, is_serving=True), 0)
    peers.record(beat(number=7, is_serving=False), 5)
    assert peers.serving == {"a"}
    assert peers.expire(6.1)


def test_a_beat_that_was_overtaken_by_the_goodbye_revives_nobody():
    peers = Directory()
    peers.record(beat(number=8, is_last=True), 0)
    peers.record(beat(number=7), 0)
    assert len(peers) == 0
    assert peers.is_gone("a")


def test_a_hub_that_says_goodbye_is_forgotten_at_once():
    peers = Directory()
    peers.record(beat(), 0)
    peers.record(beat(is_last=True), 0)
    assert len(peers) == 0
    assert peers.is_gone("a")


def test_a_goodbye_of_an_unknown_hub_makes_it_no_peer():
    peers = Directory()
    peers.record(beat(is_last=True), 0)
    assert peers.serving == frozenset()


def test_a_hub_lives_while_it_missed_three_beats_or_fewer():
    peers = Directory()
    peers.record(beat(interval=2), 10)
    assert peers.expire(16) == []
    assert peers.serving == {"a"}


def test_a_hub_that_missed_three_beats_is_gone_once_with_its_last_beat():
    peers = Directory()
    last = beat(interval=2)
    peers.record(last, 10)
    assert peers.expire(16.1) == [last]
    assert peers.expire(16.1) == []
    assert peers.serving == frozenset()
    assert peers.is_gone("a")


def test_each_hub_is_judged_by_the_interval_it_told():
    peers = Directory()
    peers.record(beat("a", interval=2), 0)
    peers.record(beat("b", interval=5), 0)
    assert [last.hub for last in peers.expire(7)] == ["a"]


def test_each_beat_begins_a_hubs_time_anew():
    peers = Directory()
    peers.record(beat(), 0)
    peers.record(beat(), 5)
    assert peers.expire(11) == []


def test_a_restart_gives_all_their_full_time_again():
    peers = Directory()
    peers.record(beat(), 0)
    peers.restart(100)
    assert peers.expire(106) == []
    assert peers.expire(107)


def test_only_who_was_taken_for_dead_is_told_so_when_it_comes_back():
    peers = Directory()
    assert not peers.record(beat("a"), 0)
    assert not peers.record(beat("b"), 0)
    peers.record(beat("b", is_last=True), 0)
    peers.expire(10)
    assert peers.record(beat("a"), 11)
    assert not peers.record(beat("b"), 11)
    assert not peers.record(beat("a"), 12)
    assert peers.serving == {"a", "b"}
    assert not peers.is_gone("a")


def test_those_gone_are_remembered_for_a_minute():
    peers = Directory()
    peers.record(beat("dead"), 0)
    peers.record(beat("ended", is_last=True), 0)
    peers.expire(7)
    peers.expire(60)
    assert peers.is_gone("dead")
    assert peers.is_gone("ended")
    peers.expire(68)
    assert not peers.is_gone("dead")
    assert not peers.is_gone("ended")


def test_the_more_hubs_the_rarer_their_beats():
    assert [beat_interval(hubs) for hubs in (1, 20, 50, 600)] == [2.0, 2.0, 5.0, 60.0]


def test_beats_are_never_further_apart_than_a_minute():
    assert beat_interval(100_000) == 60.0
