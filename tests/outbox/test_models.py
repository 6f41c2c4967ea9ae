"""The tables of the outbox."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.utils import timezone

from django_etp.hub.emissions import RELAYED
from tests.support.outbox import row


@pytest.mark.django_db
def test_the_migrations_make_the_tables_of_the_models() -> None:
    printed = StringIO()
    call_command("makemigrations", "django_etp_outbox", check=True, dry_run=True, stdout=printed)
    assert "No changes" in printed.getvalue()


def test_an_event_has_a_name_that_another_one_with_its_id_has_not() -> None:
    now = timezone.now()
    one, again, other = row(pk=7, created_at=now), row(pk=7, created_at=now), row(pk=8, created_at=now)
    later = row(pk=7, created_at=now + timedelta(microseconds=1))
    assert one.emission.startswith(f"{RELAYED}7.")
    assert one.emission == again.emission
    assert len({one.emission, other.emission, later.emission}) == 3


def test_an_event_says_what_it_is() -> None:
    assert str(row("news", "lobby", "ä")) == "news to lobby, ä"
    assert row(created_at=timezone.now() - timedelta(minutes=1)).age >= timedelta(minutes=1)
