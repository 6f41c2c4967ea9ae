"""The Django app: it registers checks and signal receivers, and starts also if its settings are wrong."""

import os
import subprocess
import sys
from pathlib import Path

from django.contrib.auth.signals import user_logged_out
from django.core import checks

from tests.support.servers import ROOT


def test_its_checks_are_registered() -> None:
    names = {check.__name__ for check in checks.registry.registry.get_checks()}
    assert names >= {"check_settings", "check_channel_layer", "check_session_engine"}


def test_its_signal_receivers_are_connected() -> None:
    assert "django_etp.logout" in {key[0] for key, *_ in user_logged_out.receivers}


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
