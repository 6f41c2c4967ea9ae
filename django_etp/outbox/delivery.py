"""Read the events that wait in one database, send them, and remove them.

Rules kept here:

- An event is removed after it has arrived. If that fails, it is sent again under the same name, and processes that had
  it drop it.
- An outage of the channel layer, or of the processes' connections to it, is no fault of an event. All events wait then,
  and none is given up, however long it takes.
- A process that died without notice does not reply. The events wait until the others count it as gone, or for 10 s.
  From then on none waits for processes that do not reply, until all of them do.
- What waits behind a failed event does not hide the events after it, however much it is.
"""

import logging
import time
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from django_etp.concurrency.bridge import run_on
from django_etp.exceptions import LayerUnavailable
from django_etp.hub.hub import Hub

from .models import OutboxEvent
from .rows import MAX_ATTEMPTS, pending, record_failure, remove
from .sending import SEND_LIMIT, Outcome, send
from .waves import Place, Wave, Windows

__all__ = ["Delivery", "Round"]

logger = logging.getLogger(__name__)

# How many events are read at a time. Fewer are read if they are large.
_MOST_ROWS = 500
_FIRST_ROWS = 100
_LARGE_PAGE = 4 * 1024 * 1024
_MOST_READS = 20
# How long events wait for processes that do not reply, in seconds.
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Round:
    """The outcome of one round.

    Attributes:
        sent: how many events were sent.
        problem: why events that were sent may not have arrived; empty if all have, or none was sent.
        retry_at: when a failed event is due again, if one is.
        has_more: whether to go on at once.
        hubs: the hubs of other processes that were asked whether they have received the events; ``None`` if none were,
            or not all.
    """

    sent: int
    problem: str = ""
    has_more: bool = False
    retry_at: datetime | None = None
    hubs: frozenset[str] | None = None


class Delivery:
    """The events of one database, on their way.

    Args:
        using: the alias of the database.
    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._windows = Windows()
        self._rows = _FIRST_ROWS
        self._uncertain_since: float | None = None

    def deliver(self, hub: Hub, expected: frozenset[str] = frozenset()) -> Round:
        """Send the next events through a hub, whose loop runs on another thread.

        ``expected`` are the hubs of other processes that were known before. See send().
        """
        wave = self._choose()
        if not wave.events:
            return Round(0, retry_at=wave.retry_at)
        is_patient = self._uncertain_since is None or time.monotonic() - self._uncertain_since < _PATIENCE
        try:
            outcome = run_on(hub.loop, _send, hub, wave.events, expected, is_patient, timeout=SEND_LIMIT)
        except LayerUnavailable as error:  # the loop has ended, or is busy
            outcome = Outcome(problem=str(error))
        if outcome.problem and self._uncertain_since is None:
            self._uncertain_since = time.monotonic()
        elif not outcome.problem and outcome.is_certain:
            self._uncertain_since = None
        remove(self._using, [event.pk for event in outcome.sent])
        for event in outcome.sent:
            for place in _places(event):
                self._windows.grow(place)
        self._record_refused(wave, outcome.refused)
        has_more = wave.has_more or bool(outcome.refused)
        return Round(len(outcome.sent), outcome.problem, has_more, wave.retry_at, outcome.hubs)

    def _choose(self) -> Wave:
        wave = Wave(timezone.now(), self._windows)
        for _ in range(_MOST_READS):
            # All from one query: of two transactions of a sender, a second query could find the later one alone.
            rows = pending(self._using, limit := self._rows, wave.waiting)
            known = len(wave.waiting)
            wave = wave.again()
            wave.add(rows)
            size = sum(len(row.payload) for row in rows)
            self._rows = max(1, limit // 4) if size > _LARGE_PAGE else min(limit * 2, _MOST_ROWS)
            if len(rows) < limit or len(wave.waiting) == known:
                break
        wave.is_cut_off = len(rows) == limit
        return wave

    def _record_refused(self, wave: Wave, refused: list[tuple[OutboxEvent, str]]) -> None:
        for event, error in refused:
            together = {place: wave.counts[place] for place in _places(event) if wave.counts[place] > 1}
            if together:  # only one of them may be at fault
                for place, count in together.items():
                    self._windows.shrink(place, count)
                continue
            record_failure(event, error)
            if event.attempts == MAX_ATTEMPTS:
                logger.error(
                    "The durable event %r, number %d in database %r, could not be sent %d times and is kept: %s. See "
                    "manage.py etp_outbox.",
                    event.event[:80],
                    event.pk,
                    self._using,
                    event.attempts,
                    error,
                )


async def _send(hub: Hub, events: list[OutboxEvent], expected: frozenset[str], is_patient: bool) -> Outcome:
    return await send(hub, events, expected=expected, is_patient=is_patient)


def _places(event: OutboxEvent) -> list[Place]:
    return [(event.namespace, room) for room in event.room_names]
