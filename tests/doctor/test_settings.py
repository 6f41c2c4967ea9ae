"""What the system checks say."""

from typing import Any

import pytest

from django_etp import etp_event
from django_etp.doctor.settings import check_settings


@pytest.fixture(autouse=True)
def _handlers(settings: Any, etp_registry: object) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}
    settings.SILENCED_SYSTEM_CHECKS = ["django_etp.W301", "django_etp.W302", "django_etp.W303"]
    etp_event("say")(lambda connection, event: None)


def test_settings_without_a_problem_are_ok(settings: Any) -> None:
    settings.ETP = {"HISTORY": {}}
    (finding,) = check_settings()
    assert finding.status == "ok", finding


def test_each_message_is_a_finding_with_its_hint(settings: Any) -> None:
    settings.ETP = {"MAX_ROOM": 7}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    findings = check_settings()
    assert sorted((finding.status.value, finding.came[:15]) for finding in findings) == [
        ("failure", "django_etp.E001"),
        ("warning", "django_etp.W002"),
    ]
    assert all(finding.remedy for finding in findings)


def test_a_check_that_is_silenced_is_none(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    settings.SILENCED_SYSTEM_CHECKS = [*settings.SILENCED_SYSTEM_CHECKS, "django_etp.W002"]
    assert [finding.status.value for finding in check_settings()] == ["ok"]
