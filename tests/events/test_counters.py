"""Counters for rates: of one connection, and of several processes over a cache."""

import multiprocessing
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from django_etp.conf.rates import Rate
from django_etp.events import counters
from django_etp.events.counters import LocalCounter, take_shared
from tests.support.valkey import start_valkey

RATE = Rate(10, 1)

Take = Callable[[float], float]


@pytest.fixture(params=["local", "shared"])
def take(request: pytest.FixtureRequest, settings: Any) -> Take:
    """Count an event at a time; return the wait."""
    if request.param == "local":
        counter = LocalCounter()
        return lambda now: counter.take(RATE, now)
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "rates"}}
    key = f"{time.time()}"
    return lambda now: counters._take(RATE, key, now)


def test_events_within_the_rate_pass_and_the_next_one_waits(take: Take) -> None:
    assert [take(100.25) for _ in range(10)] == [0.0] * 10
    wait = take(100.5)
    assert wait == pytest.approx(0.6)  # once a tenth of the first window's events no longer counts
    assert take(100.5 + wait - 0.01) > 0
    assert take(100.5 + wait + 0.01) == 0


def test_no_period_has_more_events_than_the_rate_wherever_it_begins(take: Take) -> None:
    passed = [100 + at / 100 for at in range(1000) if take(100 + at / 100) == 0]
    assert 90 <= len(passed) <= 110
    for begin in range(900):
        start = 100 + begin / 100
        assert sum(start <= at < start + 1 for at in passed) <= 11


def test_a_client_that_goes_on_still_gets_through_at_the_rate(take: Take) -> None:
    passed = sum(take(100 + at / 1000) == 0 for at in range(5000))
    assert 45 <= passed <= 60


def test_an_old_window_does_not_count(take: Take) -> None:
    assert [take(100.9) for _ in range(10)] == [0.0] * 10
    assert [take(102.0) for _ in range(10)] == [0.0] * 10


def test_a_clock_that_goes_back_does_no_harm(take: Take) -> None:
    for _ in range(20):
        take(100.9)
    assert take(50.0) == 0


def flood(location: str, barrier: Any, passed: Any) -> None:
    """Send more than the rate allows, for 4 minutes of a clock that all processes share; report when events passed."""
    cache = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}}
    times = []
    with override_settings(CACHES=cache):
        for now in range(6000, 6240):
            barrier.wait(60)  # the processes may get as little of the machine as it has
            times += [now for _ in range(3) if counters._take(Rate(200, 60), "shared", now) == 0]
    passed.put(times)


def test_four_processes_share_a_rate() -> None:
    with start_valkey() as valkey, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: a thread runs
        context = multiprocessing.get_context("fork")
        barrier, passed = context.Barrier(4), context.Queue()
        location = f"redis://127.0.0.1:{valkey.port}/1"
        floods = [context.Process(target=flood, args=(location, barrier, passed)) for _ in range(4)]
        for each in floods:
            each.start()
        reports = [passed.get(timeout=120) for _ in floods]
        for each in floods:
            each.join(60)
    assert all(reports)  # each process has sent
    total = sum(at >= 6060 for times in reports for at in times)
    assert total == pytest.approx(3 * 200, rel=0.1)


def test_a_cache_that_fails_lets_events_pass_and_is_logged_once(
    settings: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counters._FailingCache, "logged_at", None)
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/1"}
    }
    assert [take_shared(Rate(1, 60), "x") for _ in range(5)] == [0.0] * 5
    assert [record.getMessage()[:60] for record in caplog.records] == [
        "Events cannot be counted, so that none is refused: the cache"
    ]
