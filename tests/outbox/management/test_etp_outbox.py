"""`manage.py etp_outbox`."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from django_etp.outbox.models import OutboxEvent
from tests.support.outbox import row, stored

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    printed = StringIO()
    call_command("etp_outbox", *arguments, stdout=printed)
    return printed.getvalue()


def fail(event: str, **fields: object) -> OutboxEvent:
    failed = row(event, "lobby", "game", failed_at=timezone.now(), attempts=20, error="too large", **fields)
    failed.save()
    return failed


def test_it_shows_what_waits_and_since_when() -> None:
    assert run() == "default: 0 events wait; 0 failed.\n"
    row("1", created_at=timezone.now() - timedelta(seconds=90)).save()
    row("2", attempts=1, retry_at=timezone.now()).save()
    assert run().startswith("default: 2 events wait, the oldest for 9")
    assert run().endswith(" s, 1 of them after failures; 0 failed.\n")


def test_it_lists_what_failed_and_why_without_the_data() -> None:
    event = fail("news", data="secret", created_at=timezone.now() - timedelta(hours=3))
    assert run("--database", "default") == (
        "default: 0 events wait; 1 failed.\n"
        f"  {event.pk}  'news' to lobby, game, stored 3\xa0hours ago, 20 attempts: too large\n"
    )


def test_a_long_list_is_cut_unless_all_is_asked_for() -> None:
    for number in range(60):
        fail(str(number))
    assert len(run().splitlines()) == 52
    assert "… and 10 more" in run()
    assert len(run("--all").splitlines()) == 61


def test_failed_events_can_be_sent_again() -> None:
    one, other = fail("1"), fail("2")
    row("3").save()
    assert run("--retry", str(one.pk)) == "default: 1 failed events will be sent again.\n"
    assert OutboxEvent.objects.exclude(failed_at=None).get() == other
    assert run("--retry") == "default: 1 failed events will be sent again.\n"
    assert OutboxEvent.objects.filter(failed_at=None, attempts=0).count() == 3


def test_failed_events_can_be_discarded_and_no_others() -> None:
    one, _ = fail("1"), fail("2")
    waiting = row("3")
    waiting.save()
    with pytest.raises(CommandError, match=f"No failed events with the ids {waiting.pk} in .* nothing was changed"):
        run("--discard", str(one.pk), str(waiting.pk))
    assert run("--discard", str(one.pk)) == "default: 1 failed events were discarded.\n"
    assert run("--discard") == "default: 1 failed events were discarded.\n"
    assert stored() == ["3"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--database", "nowhere"], "Expected one of the databases default, got 'nowhere'"),
        (["--retry", "--discard"], "not both"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        run(*arguments)
