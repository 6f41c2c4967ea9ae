"""`manage.py etp_relay`. What it does as a process is in tests/strain/test_outbox.py."""

import pytest
from django.core.management import CommandError, call_command


def test_a_database_that_is_not_there_is_refused() -> None:
    with pytest.raises(CommandError, match="Expected one of the databases default, got 'nowhere'"):
        call_command("etp_relay", "--database", "nowhere")


def test_a_layer_that_does_not_span_processes_is_refused() -> None:
    with pytest.raises(CommandError, match=r"does not span processes.*The server relays durable events by itself"):
        call_command("etp_relay")
