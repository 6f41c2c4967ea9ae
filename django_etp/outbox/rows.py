"""The stored events of one database: those that wait, those that failed."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.db import connections, router
from django.db.models import Count, Min, Q, QuerySet
from django.utils import timezone

from .models import OutboxEvent

__all__ = [
    "MAX_ATTEMPTS",
    "Summary",
    "databases",
    "discard",
    "failed",
    "pending",
    "record_failure",
    "remove",
    "retry",
    "summarize",
]

# The relay gives up an event after so many failures that concern it.
MAX_ATTEMPTS = 20
# The pauses after them, in seconds: each is twice as long as the one before, up to a limit that is well below the time
# that processes remember an event for.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 15.0
# A message of a channel layer may hold the event.
_MAX_ERROR = 500


@dataclass(frozen=True, slots=True)
class Summary:
    """The events of one database.

    Attributes:
        waiting: how many are to be sent.
        lag: the age of the oldest of these.
        retried: how many of these failed at least once.
        failed: how many the relay has given up.
    """

    waiting: int
    lag: timedelta
    retried: int
    failed: int


def databases() -> list[str]:
    """Return the aliases of the databases that may have an outbox, by the project's routers."""
    return [alias for alias in connections if router.allow_migrate_model(alias, OutboxEvent)]


def pending(using: str, limit: int, without: Collection[tuple[str, str]] = ()) -> list[OutboxEvent]:
    """Return the first events that wait, in order, ``without`` those of these senders to these rooms."""
    rows = OutboxEvent.objects.using(using).filter(failed_at=None)
    for sender, rooms in without:
        rows = rows.exclude(sender=sender, rooms=rooms)
    return list(rows.order_by("id")[:limit])


def remove(using: str, ids: Iterable[int]) -> None:
    """Remove events that have been sent."""
    if ids := list(ids):
        OutboxEvent.objects.using(using).filter(id__in=ids).delete()


def record_failure(row: OutboxEvent, error: str) -> None:
    """Record that an event could not be sent, and when it is tried again; give it up after MAX_ATTEMPTS."""
    row.attempts += 1
    row.error = error[:_MAX_ERROR]
    if row.attempts < MAX_ATTEMPTS:
        pause = min(_FIRST_PAUSE * 2.0 ** (row.attempts - 1), _LONGEST_PAUSE)
        row.retry_at = timezone.now() + timedelta(seconds=pause)
    else:
        row.failed_at = timezone.now()
    row.save(update_fields=["attempts", "error", "retry_at", "failed_at"])


def failed(using: str, ids: Collection[int] = ()) -> QuerySet[OutboxEvent]:
    """Return the events that the relay has given up: all, or those of these ids."""
    rows = OutboxEvent.objects.using(using).exclude(failed_at=None).order_by("id")
    return rows.filter(id__in=ids) if ids else rows


def retry(rows: QuerySet[OutboxEvent]) -> int:
    """Let the relay send events again that it has given up; return how many."""
    return rows.update(attempts=0, retry_at=None, failed_at=None, error="")


def discard(rows: QuerySet[OutboxEvent]) -> int:
    """Remove events that the relay has given up; return how many."""
    return rows.delete()[0]


def summarize(using: str) -> Summary:
    """Count the events of a database."""
    waits = Q(failed_at=None)
    found = OutboxEvent.objects.using(using).aggregate(
        waiting=Count("id", filter=waits),
        oldest=Min("created_at", filter=waits),
        retried=Count("id", filter=waits & Q(attempts__gt=0)),
        failed=Count("id", filter=~waits),
    )
    lag = timezone.now() - found["oldest"] if found["oldest"] else timedelta()
    return Summary(found["waiting"], max(lag, timedelta()), found["retried"], found["failed"])
