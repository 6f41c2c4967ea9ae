"""The app of the outbox, in a project that has it and in one that has not."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.servers import ROOT


def loaded(tmp_path: Path, apps: str) -> str:
    (tmp_path / "project_settings.py").write_text(f"from tests.settings import *\nINSTALLED_APPS = {apps}\n")
    code = """
import sys, django
django.setup()
import django_etp.consumers
from django_etp.server.companions import _companions
print(len(_companions), "django_etp.outbox" in sys.modules)
"""
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_project_with_the_app_relays_in_its_servers(tmp_path: Path) -> None:
    assert loaded(tmp_path, "INSTALLED_APPS") == "1 True\n"


def test_a_project_without_the_app_does_not_even_import_it(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[app for app in INSTALLED_APPS if 'outbox' not in app]") == "0 False\n"
