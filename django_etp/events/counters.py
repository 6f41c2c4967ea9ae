"""Count events against a rate: those of one connection in memory, others in Django's cache, for all processes.

Rules kept here:

- No more than the rate passes within a period, wherever it begins.
- Rates of up to 20 events are exact: each event has a slot for one period, and one without a free slot is refused.
- For higher rates, time is divided into windows as long as the period. An event counts in its window, and for a share
  in the next one, which falls from all to nothing.
- Refused events do not count: a client that goes on sending still gets through at the rate.
- An event that is refused costs one read of the cache. If the cache fails, events pass, and the log has a line.
"""

import hashlib
import logging
import time

from django.core.cache import cache

from django_etp.conf import get_settings
from django_etp.conf.rates import Rate
from django_etp.exceptions import describe

__all__ = ["LocalCounter", "take_shared"]

logger = logging.getLogger(__name__)

# In seconds.
_LOG_EVERY = 60.0
# Rates of at most so many events are exact.
_FEW = 20
# How much longer than its period a slot is kept, in seconds: some caches drop entries up to a second too early.
_KEPT_LONGER = 2
# How long it is remembered who has renewed a slot, in seconds.
_CLAIM_SECONDS = 60


class LocalCounter:
    """The events of one connection."""

    __slots__ = ("_current", "_previous", "_times", "_window")

    def __init__(self) -> None:
        self._window = 0
        self._previous = self._current = 0
        self._times: list[float] | None = None  # of a rate that is exact

    def take(self, rate: Rate, now: float) -> float:
        """Count an event, and return 0; or return after how many seconds to try again. ``now`` is any clock's."""
        if rate.events <= _FEW:
            times = self._times
            if times is None or (times and times[-1] > now):  # the clock has gone back
                times = self._times = []
            if len(times) == rate.events:
                if (wait := times[0] + rate.seconds - now) > 0:
                    return wait
                del times[0]
            times.append(now)
            return 0.0
        window, elapsed = divmod(now, rate.seconds)
        if window != self._window:
            self._previous = self._current if window == self._window + 1 else 0
            self._window, self._current = int(window), 0
        wait = _wait(rate, self._previous, self._current, elapsed)
        if not wait:
            self._current += 1
        return wait


class _FailingCache:
    logged_at: float | None = None


def take_shared(rate: Rate, key: str) -> float:
    """Count an event in the cache, and return 0; or return after how many seconds to try again. Takes a moment."""
    try:
        take = _take_slot if rate.events <= _FEW else _take
        return take(rate, key, time.time())
    except Exception as error:
        now = time.monotonic()
        if _FailingCache.logged_at is None or now - _FailingCache.logged_at >= _LOG_EVERY:
            _FailingCache.logged_at = now
            logger.warning("Events cannot be counted, so that none is refused: the cache fails: %s.", describe(error))
        return 0.0


def _take_slot(rate: Rate, key: str, now: float) -> float:
    prefix = _prefix(key)
    slots = [f"{prefix}.slot{number}" for number in range(rate.events)]
    ends = cache.get_many(slots)
    for slot in slots:
        end = ends.get(slot)
        # A slot holds the end of its period. If that is far away, the clock has gone back.
        if (end is None or not now < end <= now + 2 * rate.seconds) and _renew(slot, end, now + rate.seconds, rate):
            return 0.0
    if len(ends) < rate.events:  # other processes have taken those that were free
        ends = cache.get_many(slots)
    return max(0.001, min((end for end in ends.values() if end > now), default=now) - now)


def _renew(slot: str, old: float | None, end: float, rate: Rate) -> bool:
    """Take a free slot; return whether no other process has taken it meanwhile."""
    timeout = rate.seconds + _KEPT_LONGER
    if old is None:
        return bool(cache.add(slot, end, timeout=timeout))
    is_first = bool(cache.add(f"{slot}.{old}", 1, timeout=_CLAIM_SECONDS))
    if is_first:
        cache.set(slot, end, timeout=timeout)
    return is_first


def _take(rate: Rate, key: str, now: float) -> float:
    window, elapsed = divmod(now, rate.seconds)
    prefix = _prefix(key)
    current_key, previous_key = f"{prefix}.{window:.0f}", f"{prefix}.{window - 1:.0f}"
    counts = cache.get_many([current_key, previous_key])
    previous = counts.get(previous_key, 0)
    if wait := _wait(rate, previous, counts.get(current_key, 0), elapsed):
        return wait
    if current_key not in counts:
        cache.add(current_key, 0, timeout=2 * rate.seconds + 1)
    count = cache.incr(current_key)
    if wait := _wait(rate, previous, count - 1, elapsed):  # other processes have counted meanwhile
        cache.decr(current_key)
        return wait
    return 0.0


def _prefix(key: str) -> str:
    # A digest: not each cache takes every text as a key.
    digest = hashlib.sha256(f"{get_settings().site}\0{key}".encode(errors="replace")).hexdigest()
    return f"etp.rate.{digest[:32]}"


def _wait(rate: Rate, previous: int, current: int, elapsed: float) -> float:
    """Return after how many seconds an event is within the rate; 0 if it is now."""
    seconds, free = rate.seconds, rate.events - current - 1
    if previous * (1 - elapsed / seconds) <= free:
        return 0.0
    if free >= 0:
        return seconds * (1 - free / previous) - elapsed
    # In the next window, once the share of this one has fallen.
    return seconds - elapsed + seconds * max(0.0, 1 - (rate.events - 1) / current)
