"""The stored events of a database."""

import json
from datetime import timedelta

import pytest
from django.utils import timezone

from django_etp.outbox import rows
from django_etp.outbox.models import OutboxEvent
from tests.support.outbox import row, stored

pytestmark = pytest.mark.django_db


def save(event: str, *rooms: str, **fields: object) -> OutboxEvent:
    saved = row(event, *rooms, **fields)
    saved.save()
    return saved


def test_events_wait_in_order_until_they_are_given_up() -> None:
    for event in ("1", "2", "3"):
        save(event)
    save("4", failed_at=timezone.now())
    assert [each.event for each in rows.pending("default", 2)] == ["1", "2"]
    assert [each.event for each in rows.pending("default", 5)] == ["1", "2", "3"]


def test_events_of_senders_that_wait_are_left_out() -> None:
    save("1", "a", sender="s")
    save("2", "a", sender="t")
    save("3", "b", sender="s")
    left = rows.pending("default", 5, without=[("s", json.dumps(["a"])), ("t", json.dumps(["b"]))])
    assert [each.event for each in left] == ["2", "3"]


def test_sent_events_are_removed() -> None:
    ids = [save(event).pk for event in ("1", "2", "3")]
    rows.remove("default", ids[:2])
    rows.remove("default", [])
    assert stored() == ["3"]


def test_the_pauses_after_failures_grow_and_end() -> None:
    event = save("1")
    pauses = []
    for _ in range(rows.MAX_ATTEMPTS):
        before = timezone.now()
        rows.record_failure(event, "too large" * 1000)
        event.refresh_from_db()
        assert event.retry_at is not None
        pauses.append(round((event.retry_at - before).total_seconds()))
    assert pauses[:6] == [1, 2, 4, 8, 15, 15]
    assert max(pauses) == 15
    assert event.attempts == 20
    assert event.failed_at is not None
    assert event.error.startswith("too large")
    assert len(event.error) == 500
    assert rows.pending("default", 5) == []


def test_an_event_that_was_given_up_can_be_sent_again_or_discarded() -> None:
    one, other = (save(event, failed_at=timezone.now(), attempts=20, error="refused") for event in ("1", "2"))
    save("3")
    assert [each.event for each in rows.failed("default")] == ["1", "2"]
    assert rows.retry(rows.failed("default", [one.pk])) == 1
    one.refresh_from_db()
    assert (one.attempts, one.failed_at, one.error) == (0, None, "")
    assert rows.discard(rows.failed("default", [other.pk, one.pk])) == 1
    assert stored() == ["1", "3"]


def test_a_summary_counts_what_waits_and_what_failed() -> None:
    assert rows.summarize("default") == rows.Summary(0, timedelta(), 0, 0)
    save("1", created_at=timezone.now() - timedelta(seconds=90))
    save("2", attempts=1, retry_at=timezone.now())
    save("3", failed_at=timezone.now(), created_at=timezone.now() - timedelta(days=1))
    found = rows.summarize("default")
    assert (found.waiting, found.retried, found.failed) == (2, 1, 1)
    assert 90 <= found.lag.total_seconds() < 120


def test_routers_decide_which_databases_have_an_outbox(settings: object) -> None:
    assert rows.databases() == ["default"]
