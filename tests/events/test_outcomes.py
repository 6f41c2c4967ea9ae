"""The report of a handled event. tests/test_signals.py has the outcomes of real handlers."""

import asyncio
import time
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.dispatch import Signal

from django_etp import Event, EventFailed, InvalidFrame, InvalidPayload
from django_etp.events import outcomes
from django_etp.events.namespaces import Namespace

CONNECTION: Any = object()


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "unknown_event"),
        (ValueError(), "handler_error"),
        (PermissionDenied(), "permission_denied"),
        (InvalidPayload(), "invalid_payload"),
        (EventFailed("sold_out"), "sold_out"),
        (EventFailed("sold_out", is_from_peer=True), "handler_error"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_an_outcome_is_the_code_that_a_client_gets(
    error: BaseException | None, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcomes, "event_handled", signal := Signal())
    reported: list[str] = []

    def keep(outcome: str, **_: object) -> None:
        reported.append(outcome)

    signal.connect(keep)
    for item in (Event("x"), InvalidFrame("no event")):
        outcomes.report_handled(Namespace(), CONNECTION, item, time.perf_counter(), error)
    assert reported == [outcome]
