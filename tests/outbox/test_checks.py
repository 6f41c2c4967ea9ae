"""The system check of stored events."""

from datetime import timedelta

import pytest
from django.core.checks import CheckMessage, run_checks
from django.db import connection
from django.utils import timezone

from django_etp.outbox.models import OutboxEvent
from tests.support.outbox import row

pytestmark = pytest.mark.django_db


def found(databases: list[str] | None) -> list[CheckMessage]:
    messages = run_checks(databases=databases)
    return [message for message in messages if str(message.id).startswith("django_etp.W20")]


def test_a_healthy_outbox_is_no_problem() -> None:
    row("news").save()
    assert found(["default"]) == []


def test_events_that_failed_are_reported() -> None:
    row("news", failed_at=timezone.now(), created_at=timezone.now() - timedelta(days=1)).save()
    [problem] = found(["default"])
    assert problem.id == "django_etp.W201"
    assert "1 durable events" in problem.msg
    assert "etp_outbox" in str(problem.hint)


def test_events_that_no_relay_sends_are_reported() -> None:
    row("news", created_at=timezone.now() - timedelta(minutes=2)).save()
    [problem] = found(["default"])
    assert problem.id == "django_etp.W202"
    assert "the oldest for 12" in problem.msg


def test_no_database_is_touched_unless_it_is_checked() -> None:
    row("news", failed_at=timezone.now()).save()
    assert found(None) == []


@pytest.mark.django_db(transaction=True)
def test_a_database_without_the_tables_is_no_problem() -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(OutboxEvent)
    try:
        assert found(["default"]) == []
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(OutboxEvent)
