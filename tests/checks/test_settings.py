"""The system checks of the ETP settings, as Django runs them."""

from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks


@pytest.fixture(autouse=True)
def debug(settings: Any) -> None:
    settings.DEBUG = True  # the suite's channel layer is in memory, which is worth a warning elsewhere


def found() -> list[CheckMessage]:
    return [message for message in run_checks() if str(message.id).startswith("django_etp.")]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert found() == []


@pytest.mark.parametrize("etp", [{"ACK_TIMEOUT": 0}, {"UNKNOWN": 1}, None, []])
def test_wrong_settings_are_errors(settings: Any, etp: object) -> None:
    settings.ETP = etp
    (message,) = found()
    assert message.id == "django_etp.E001"
    assert message.is_serious()
    assert message.hint


def test_each_wrong_setting_is_an_error_of_its_own(settings: Any) -> None:
    settings.ETP = {"ACK_TIMEOUT": 0, "SYNC_WORKERS": 0}
    assert [message.id for message in found()] == ["django_etp.E001", "django_etp.E001"]
