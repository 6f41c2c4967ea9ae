"""What wakes a relay. PostgreSQL's notifications are in test_relay.py."""

import threading
import time
from collections.abc import Iterator

import pytest

from django_etp.outbox.commits import Bell, announce_commit, is_under_test


@pytest.fixture
def bell() -> Iterator[Bell]:
    bell = Bell("default")
    yield bell
    bell.close()


def seconds_of_wait(bell: Bell, seconds: float = 5.0) -> float:
    began_at = time.monotonic()
    bell.wait(seconds)
    return time.monotonic() - began_at


@pytest.mark.usefixtures("kept")
def test_a_commit_of_its_own_process_wakes_a_relay(bell: Bell) -> None:
    threading.Timer(0.01, announce_commit, ["default"]).start()
    assert seconds_of_wait(bell) < 4


@pytest.mark.usefixtures("kept")
def test_a_commit_before_the_wait_is_not_missed_and_counts_once(bell: Bell) -> None:
    for _ in range(100_000):
        bell.ring()
    assert seconds_of_wait(bell) < 4
    while seconds_of_wait(bell, 0.01) < 0.01:
        pass
    assert seconds_of_wait(bell, 0.05) >= 0.04


@pytest.mark.usefixtures("kept")
def test_a_commit_in_another_database_wakes_nobody(bell: Bell) -> None:
    announce_commit("other")
    assert seconds_of_wait(bell, 0.05) >= 0.04


def test_a_bell_may_ring_after_its_end() -> None:
    bell = Bell("default")
    bell.close()
    bell.ring()


def test_a_test_knows_that_it_is_one() -> None:
    assert is_under_test()


def test_under_tests_a_commit_sends(kept: list[str]) -> None:
    announce_commit("default")
    assert kept == ["default"]
