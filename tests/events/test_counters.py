"""Counters for rates: of one connection, and of several processes over a cache."""

import multiprocessing
import time
import warnings
from collections.abc import Callable
from typing import Any, cast

import pytest
from django.test import override_settings

from django_etp.conf.rates import Rate
from django_etp.events import counters
from django_etp.events.counters import LocalCounter, take_shared
from tests.support.valkey import start_valkey

# A rate that is counted in slots, and one that is counted in windows.
FEW, MANY = Rate(10, 1), Rate(40, 1)

Take = Callable[[float], float]


@pytest.fixture(params=[FEW, MANY], ids=["few", "many"])
def rate(request: pytest.FixtureRequest) -> Rate:
    return cast(Rate, request.param)


@pytest.fixture(params=["local", "shared"])
def take(request: pytest.FixtureRequest, rate: Rate, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Take:
    """Count an event at a time; return the wait."""
    if request.param == "local":
        counter = LocalCounter()
        return lambda now: counter.take(rate, now)
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "rates"}}
    key, clock = f"{time.time()}", [0.0]
    monkeypatch.setattr(counters.time, "time", lambda: clock[0])

    def take_at(now: float) -> float:
        clock[0] = now
        return take_shared(rate, key)

    return take_at


@pytest.mark.parametrize(("rate", "expected"), [(FEW, 0.75), (MANY, 0.525)], indirect=["rate"])
def test_events_within_the_rate_pass_and_the_next_one_waits(take: Take, rate: Rate, expected: float) -> None:
    assert [take(100.25) for _ in range(rate.events)] == [0.0] * rate.events
    wait = take(100.5)
    # Until the first event is a period ago; in windows, once a part of the first window's events no longer counts.
    assert wait == pytest.approx(expected)
    assert take(100.5 + wait - 0.01) > 0
    assert take(100.5 + wait + 0.001) == 0


@pytest.mark.parametrize("rate", [Rate(1, 1), Rate(3, 60), Rate(20, 3600)], indirect=True, ids=str)
def test_low_rates_are_exact(take: Take, rate: Rate) -> None:
    pause = rate.seconds / rate.events * 1.001
    for number in range(100):
        assert take(1000 + number * pause) == 0
    for _ in range(5):
        assert take(1000 + 99 * pause + 0.0005) == pytest.approx(rate.seconds - (rate.events - 1) * pause, abs=0.01)


def test_no_period_has_more_events_than_the_rate_wherever_it_begins(take: Take, rate: Rate) -> None:
    passed = [100 + at / 100 for at in range(1000) if take(100 + at / 100) == 0]
    assert 9 * rate.events <= len(passed) <= 11 * rate.events
    for begin in range(900):
        start = 100 + begin / 100
        assert sum(start <= at < start + 1 for at in passed) <= rate.events + 1


def test_a_client_that_goes_on_still_gets_through_at_the_rate(take: Take, rate: Rate) -> None:
    passed = sum(take(100 + at / 1000) == 0 for at in range(5000))
    assert 4.5 * rate.events <= passed <= 6 * rate.events


def test_an_old_window_does_not_count(take: Take, rate: Rate) -> None:
    assert [take(100.9) for _ in range(rate.events)] == [0.0] * rate.events
    assert [take(102.0) for _ in range(rate.events)] == [0.0] * rate.events


def test_a_clock_that_goes_back_does_no_harm(take: Take, rate: Rate) -> None:
    for _ in range(2 * rate.events):
        take(100.9)
    assert take(50.0) == 0


def test_a_slot_is_renewed_by_one_process(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "slots"}}
    rate = Rate(1, 1)
    assert counters._renew("slot", None, 101.0, rate)
    assert not counters._renew("slot", None, 101.0, rate)
    assert counters._renew("slot", 101.0, 103.0, rate)
    assert not counters._renew("slot", 101.0, 103.0, rate)
    assert counters.cache.get("slot") == 103.0


def flood(location: str, barrier: Any, passed: Any) -> None:
    """Send more than the rate allows, for 4 minutes of a clock that all processes share; report when events passed."""
    cache = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}}
    times = []
    with override_settings(CACHES=cache):
        for now in range(6000, 6240):
            barrier.wait(60)  # the processes may get as little of the machine as it has
            times += [now for _ in range(3) if counters._take(Rate(200, 60), "shared", now) == 0]
            times += [-now for _ in range(3) if counters._take_slot(Rate(20, 60), "few", now) == 0]
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
    few = sorted(-at for times in reports for at in times if at < 0)
    assert len(few) == 4 * 20
    assert all(later - at >= 60 for at, later in zip(few, few[20:], strict=False))


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
