"""The model without a table: it costs a project nothing but its permissions."""

import json
from io import StringIO

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection

from django_etp.models import Live

pytestmark = pytest.mark.django_db


def test_it_brings_two_permissions_and_no_table() -> None:
    permissions = Permission.objects.filter(content_type__app_label="django_etp")
    assert set(permissions.values_list("codename", flat=True)) == {"view_live", "change_live"}
    assert not [name for name in connection.introspection.table_names() if name.startswith("django_etp_live")]


def test_the_migration_is_that_of_the_model() -> None:
    printed = StringIO()
    call_command("makemigrations", "django_etp", check=True, dry_run=True, stdout=printed)
    assert "No changes detected" in printed.getvalue()


@pytest.mark.parametrize("every_row", [False, True])
def test_commands_that_go_through_all_models_do_not_miss_the_table(every_row: bool) -> None:
    printed = StringIO()
    call_command("dumpdata", use_base_manager=every_row, stdout=printed)
    assert "django_etp.live" not in {row["model"] for row in json.loads(printed.getvalue())}
    assert list(Live.objects.all()) == []


def test_an_instance_is_what_an_action_was_for() -> None:
    assert str(Live(id="room lobby")) == "room lobby"
