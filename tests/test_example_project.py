"""The example project by itself. A process has one settings module, so its tests run in a process of their own."""

import os
import subprocess
import sys

from tests.servers import ROOT


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


def test_the_chat_passes_its_tests() -> None:
    run_of_chat = run("-m", "pytest", "--ds=example_project.settings", "-p", "no:cacheprovider", "tests/chat.py")
    assert run_of_chat.returncode == 0, run_of_chat.stdout + run_of_chat.stderr


def test_the_project_has_nothing_for_the_checks_to_say() -> None:
    check = run("manage.py", "check", "--fail-level", "WARNING")
    assert check.returncode == 0, check.stderr


def test_the_project_has_all_its_migrations() -> None:
    check = run("manage.py", "makemigrations", "--check", "--dry-run")
    assert check.returncode == 0, check.stdout + check.stderr
