"""The app of the metrics, without its library."""

import subprocess
import sys

SETUP = """
import importlib.util, sys
import django
from django.conf import settings

find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in {hidden!r} else find_spec(name, package)
settings.configure(INSTALLED_APPS=[
    "django.contrib.auth", "django.contrib.contenttypes", "django_etp", "django_etp.contrib.prometheus",
])
django.setup()
print("prometheus_client" in sys.modules)
"""


def run(hidden: list[str]) -> subprocess.CompletedProcess[str]:
    program = SETUP.format(hidden=hidden)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


def test_it_names_the_extra_that_is_missing() -> None:
    outcome = run(["prometheus_client"])
    assert "pip install 'django-etp[prometheus]'" in outcome.stderr
    assert outcome.returncode == 1


def test_it_counts_if_it_is_installed() -> None:
    assert run([]).stdout == "True\n"
