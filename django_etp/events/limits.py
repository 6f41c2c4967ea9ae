"""Refuse the events of clients that send more than a rate allows.

Rules kept here:

- An event over the rate fails with ``rate_limited`` and ``retry_after``, in seconds, and its handler does not run.
- A connection with 100 refused events within a minute is closed with 1008.
- The log has one warning for an offender and a minute: a user, or an address with anonymous clients. A client that
  connects again and goes on is the same offender.
- Counts of a connection go with it. The record of warnings is bounded.
"""

import logging
import math
import time
from collections import deque
from typing import Literal
from weakref import WeakKeyDictionary

from django_etp.concurrency.workers import run_own
from django_etp.conf.rates import Rate
from django_etp.connections.connection import Connection
from django_etp.connections.records import facts_of
from django_etp.connections.scope import identity_of
from django_etp.exceptions import EventFailed
from django_etp.protocol.frames import Event
from django_etp.signals import notify, rate_limited

from .counters import LocalCounter, take_shared
from .current import current_room, handler_name

__all__ = ["RateBy", "RateLimit", "RateLimited"]

logger = logging.getLogger(__name__)

RateBy = Literal["connection", "user", "ip"]
_SHARED_BY = {"connection": "connection", "user": "user", "ip": "IP address"}

_MINUTE = 60.0
_MOST_REFUSED = 100
_MOST_WARNED = 10_000


class RateLimited(EventFailed):
    """An event over a rate. It is logged here, and not reported as a failure of a handler."""


# The times of the last refused events of each connection.
_refused_at: WeakKeyDictionary[Connection, deque[float]] = WeakKeyDictionary()
# When an offender was last in the log, in the order of these times.
_warned_at: dict[str, float] = {}


class RateLimit:
    """A rate for the events of each connection, user or address.

    Args:
        rate: the rate.
        by: ``"connection"``, ``"user"`` or ``"ip"``: whose events count together. Anonymous users count by address.
        name: names the events of a namespace that count together; ``""`` for all events.

    Raises:
        ValueError: the rate, or ``by``, is none of these.
    """

    def __init__(self, rate: str, by: RateBy, name: str) -> None:
        if by not in _SHARED_BY:
            raise ValueError(f'rate_by must be "connection", "user" or "ip", got {by!r:.80}.')
        self._text = rate
        self._rate = Rate.parse(rate)
        self._by = by
        self._name = name
        self._counters: WeakKeyDictionary[Connection, LocalCounter] = WeakKeyDictionary()

    def __str__(self) -> str:
        return f"{self._text} for each {_SHARED_BY[self._by]}"

    async def check(self, connection: Connection, event: Event) -> None:
        """Count an event, the running one.

        Raises:
            RateLimited: it is over the rate.
        """
        offender = f"connection {connection.id}" if self._by == "connection" else _person(connection, self._by)
        if self._by == "connection":
            counter = self._counters.get(connection)
            if counter is None:
                counter = self._counters[connection] = LocalCounter()
            wait = counter.take(self._rate, time.monotonic())
        else:
            wait = await run_own(
                take_shared, self._rate, f"{connection.namespace}\0{self._name}\0{offender}", owner=offender
            )
        if wait:
            await self._refuse(connection, event, offender, math.ceil(wait * 1000) / 1000)

    async def _refuse(self, connection: Connection, event: Event, offender: str, retry_after: float) -> None:
        now = time.monotonic()
        name = handler_name()
        self._warn(connection, name, offender, now)
        notify(rate_limited, connection=connection, event=event, name=name, retry_after=retry_after)
        refused = _refused_at.setdefault(connection, deque(maxlen=_MOST_REFUSED))
        refused.append(now)
        if len(refused) == _MOST_REFUSED and now - refused[0] < _MINUTE:
            await connection.aclose(1008, "too many events over the rate")
        raise RateLimited(
            "rate_limited", f"More than {self._text}; try again in {retry_after:g} s.", retry_after=retry_after
        )

    def _warn(self, connection: Connection, name: str | None, offender: str, now: float) -> None:
        person = _person(connection, "ip" if self._by == "ip" else "user")
        if now - _warned_at.get(person, -math.inf) < _MINUTE:
            return
        _warned_at.pop(person, None)  # so that it is behind all others again
        while len(_warned_at) >= _MOST_WARNED:
            del _warned_at[next(iter(_warned_at))]
        _warned_at[person] = now
        logger.warning(
            "Events of %s are refused, since they are over the rate of %s: %s. A connection with %d of them in a "
            "minute is closed with 1008.",
            offender,
            self._text,
            f"event {self._name!r}" if self._name else "all events",
            _MOST_REFUSED,
            extra=facts_of(connection, name, current_room()),
        )


def _person(connection: Connection, by: RateBy) -> str:
    if by == "user" and connection.user_id is not None:
        return f"user {identity_of(connection.scope, connection.user_id)}"
    client = connection.scope.get("client") or [""]
    return f"address {client[0]}"
