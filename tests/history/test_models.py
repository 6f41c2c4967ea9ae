"""The tables of histories."""

from io import StringIO

import pytest
from django.core.management import call_command

from django_etp.history.models import HistoryDurableEvent, HistoryEvent, HistoryRoom


@pytest.mark.django_db
def test_the_migrations_make_the_tables_of_the_models() -> None:
    printed = StringIO()
    call_command("makemigrations", "django_etp_history", check=True, dry_run=True, stdout=printed)
    assert "No changes" in printed.getvalue()


def test_rows_say_what_they_are() -> None:
    room = HistoryRoom(pk=3, name="etp.room.x", epoch="abcdef01", number=7)
    assert str(room) == "etp.room.x at abcdef01.7"
    assert str(HistoryEvent(room=room, number=7)) == "event 7 of room 3"
    assert str(HistoryDurableEvent(room=room, number=7, emission="~5.1")) == "~5.1 of room 3"
