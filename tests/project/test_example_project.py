"""The example project by itself. A process has one settings module, so its tests run in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import ROOT


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a Python command in the repository, under the example's settings and outside of this run of pytest."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
    )


def test_the_apps_pass_their_tests() -> None:
    files = [f"tests/support/{app}.py" for app in ("assistant", "chat", "orders")]
    run_of_all = run("-m", "pytest", "--ds=example_project.settings", "-p", "no:cacheprovider", *files)
    assert run_of_all.returncode == 0, run_of_all.stdout + run_of_all.stderr


def test_the_project_has_nothing_for_the_checks_to_say() -> None:
    check = run("manage.py", "check", "--fail-level", "WARNING")
    assert check.returncode == 0, check.stderr


def test_the_project_has_all_its_migrations() -> None:
    check = run("manage.py", "makemigrations", "--check", "--dry-run")
    assert check.returncode == 0, check.stdout + check.stderr


@pytest.mark.parametrize("port", ["abc", "", "0", "65536", "8000 8001"])
def test_make_demo_says_so_where_a_port_is_none(port: str) -> None:
    # The suite may be a make's own child, whose flags are not for this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    process = subprocess.run(
        ["make", "--old-file", ".venv/installed", "demo", f"BIN={Path(sys.executable).parent}", f"PORT={port}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (process.returncode, process.stdout) == (2, "")
    assert f"PORT={port} is no port: choose one from 1 to 65535" in process.stderr
