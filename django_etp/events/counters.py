"""Count events against a rate: those of one connection in memory, others in Django's cache, for all processes.

Rules kept here:

- Time is divided into windows as long as the rate's period. An event counts in its window, and for a share in the next
  one, which falls from all to nothing: so no more than the rate passes within a period, wherever it begins.
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


class LocalCounter:
    """The events of one connection."""

    __slots__ = ("_current", "_previous", "_window")

    def __init__(self) -> None:
        self._window = 0
        self._previous = self._current = 0

    def take(self, rate: Rate, now: float) -> float:
        """Count an event, and return 0; or return after how many seconds to try again. ``now`` is any clock's."""
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
        return _take(rate, key, time.time())
    except Exception as error:
        now = time.monotonic()
        if _FailingCache.logged_at is None or now - _FailingCache.logged_at >= _LOG_EVERY:
            _FailingCache.logged_at = now
            logger.warning("Events cannot be counted, so that none is refused: the cache fails: %s.", describe(error))
        return 0.0


def _take(rate: Rate, key: str, now: float) -> float:
    window, elapsed = divmod(now, rate.seconds)
    current_key, previous_key = _key(key, int(window)), _key(key, int(window) - 1)
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


def _key(key: str, window: int) -> str:
    # A digest: not each cache takes every text as a key.
    digest = hashlib.sha256(f"{get_settings().site}\0{key}".encode(errors="replace")).hexdigest()
    return f"etp.rate.{digest[:32]}.{window}"


def _wait(rate: Rate, previous: int, current: int, elapsed: float) -> float:
    """Return after how many seconds an event is within the rate; 0 if it is now."""
    seconds, free = rate.seconds, rate.events - current - 1
    if previous * (1 - elapsed / seconds) <= free:
        return 0.0
    if free >= 0:
        return seconds * (1 - free / previous) - elapsed
    # In the next window, once the share of this one has fallen.
    return seconds - elapsed + seconds * max(0.0, 1 - (rate.events - 1) / current)
