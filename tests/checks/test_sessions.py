"""The system checks of the session engine, as Django runs them."""

from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks


@pytest.fixture(autouse=True)
def debug(settings: Any) -> None:
    settings.DEBUG = True  # the suite's channel layer is in memory, which is worth a warning elsewhere


def found() -> list[CheckMessage]:
    return [message for message in run_checks() if str(message.id).startswith("django_etp.")]


@pytest.mark.parametrize(("engine", "id"), [("signed_cookies", "django_etp.E101"), ("cache", "django_etp.W101")])
def test_a_session_engine_that_cannot_keep_data_safely_is_found(settings: Any, engine: str, id: str) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    assert [message.id for message in found()] == [id]
