"""The system checks of the ETP settings, as Django runs them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks

ROOT = Path(__file__).parents[2]


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


def test_a_project_with_wrong_settings_starts_far_enough_to_say_so(tmp_path: Path) -> None:
    (tmp_path / "broken_settings.py").write_text("from tests.settings import *\nETP = {'ACK_TIMEOUT': 'soon'}\n")
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "broken_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "django", "check"], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "django_etp.E001" in done.stderr
    assert "Traceback" not in done.stderr
