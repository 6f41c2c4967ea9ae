"""Which other hubs live, with the time passed in."""

from itertools import count

from django_etp.envelope import Beat
from django_etp.peers import Peers, beat_interval

NUMBERS = count(1)


def beat(hub: str = "a", *, interval: float = 2.0, is_last: bool = False) -> Beat:
    return Beat(hub, next(NUMBERS), interval, f"{hub}-traffic", f"{hub}-control", is_last=is_last)


def test_a_hub_heard_of_is_known():
    peers = Peers()
    peers.hear(beat("a"), 0)
    peers.hear(beat("b"), 0)
    assert peers.serving == {"a", "b"}
    assert len(peers) == 2


def test_a_hub_that_says_goodbye_is_forgotten_at_once():
    peers = Peers()
    peers.hear(beat(), 0)
    peers.hear(beat(is_last=True), 0)
    assert len(peers) == 0


def test_a_goodbye_of_an_unknown_hub_does_nothing():
    peers = Peers()
    peers.hear(beat(is_last=True), 0)
    assert peers.serving == frozenset()


def test_a_hub_lives_while_it_missed_three_beats_or_fewer():
    peers = Peers()
    peers.hear(beat(interval=2), 10)
    assert peers.expire(16) == []
    assert peers.serving == {"a"}


def test_a_hub_that_missed_three_beats_is_gone_once_with_its_channels():
    peers = Peers()
    peers.hear(beat(interval=2), 10)
    (dead,) = peers.expire(16.1)
    assert (dead.hub, dead.channel, dead.control_channel) == ("a", "a-traffic", "a-control")
    assert peers.is_gone("a")
    assert peers.expire(16.1) == []
    assert peers.serving == frozenset()


def test_each_hub_is_judged_by_the_interval_it_told():
    peers = Peers()
    peers.hear(beat("a", interval=2), 0)
    peers.hear(beat("b", interval=5), 0)
    assert [dead.hub for dead in peers.expire(7)] == ["a"]


def test_each_beat_begins_a_hubs_time_anew():
    peers = Peers()
    peers.hear(beat(), 0)
    peers.hear(beat(), 5)
    assert peers.expire(11) == []


def test_a_restart_gives_all_their_full_time_again():
    peers = Peers()
    peers.hear(beat(), 0)
    peers.restart(100)
    assert peers.expire(106) == []
    assert peers.expire(107)


def test_the_more_hubs_the_rarer_their_beats():
    assert [beat_interval(hubs) for hubs in (1, 20, 50, 600)] == [2.0, 2.0, 5.0, 60.0]


def test_beats_are_never_further_apart_than_a_minute():
    assert beat_interval(100_000) == 60.0


def test_a_beat_that_a_later_one_overtook_counts_for_nothing():
    peers = Peers()
    early, late = beat(), beat(is_last=True)
    peers.hear(late, 0)
    peers.hear(early, 0)
    assert len(peers) == 0


def test_a_hub_taken_for_dead_is_known_again_when_it_is_heard_of():
    peers = Peers()
    peers.hear(beat(), 0)
    peers.expire(100)
    assert peers.hear(beat(), 101)
    assert peers.serving == {"a"}
