"""The app of the tables, in a project that has it and in one that has not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import django_etp.history
from tests.support.servers import ROOT


def run(tmp_path: Path, apps: str, code: str) -> str:
    (tmp_path / "project_settings.py").write_text(f"from tests.settings import *\nINSTALLED_APPS = {apps}\n")
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "project_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
    }
    code = f"import sys, django; django.setup(); import django_etp.consumers; {code}"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_project_without_the_app_imports_no_store_of_a_database_or_of_redis(tmp_path: Path) -> None:
    code = "print([name for name in sys.modules if name.startswith('django_etp.history.')])"
    apps = "[app for app in INSTALLED_APPS if app != 'django_etp.history']"
    printed = run(tmp_path, apps, code)
    assert not {"database", "models", "redis"} & {name.rpartition(".")[2] for name in eval(printed)}


def test_the_stores_are_found_by_their_names() -> None:
    assert {*django_etp.history.__all__} <= {*dir(django_etp.history)}
    for name in django_etp.history.__all__:
        assert getattr(django_etp.history, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = django_etp.history.Other
