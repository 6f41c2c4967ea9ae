"""`python -m tests`: what failed runs once more, alone, and what passes then is listed and fails nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.__main__ import MOST_FLAKY
from tests.support.servers import ROOT

TESTS = """
import os
import pathlib
import pytest

def test_passes():
    pass

@pytest.mark.parametrize("number", range({flaky}))
def test_flaky(number):
    been_here = pathlib.Path(f"{{number}}.txt")
    if not been_here.exists():
        been_here.touch()
        pytest.fail("the first time")
    assert "PYTEST_XDIST_WORKER" not in os.environ

def test_broken():
    assert {is_broken} is False
"""


def run_suite(
    folder: Path, *arguments: str, flaky: int = 0, is_broken: bool = False
) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_sample.py").write_text(TESTS.format(flaky=flaky, is_broken=is_broken))
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTEST_", "DJANGO_"))}
    return subprocess.run(
        [sys.executable, "-m", "tests", "-n", "1", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_suite_that_passes_runs_once(tmp_path: Path) -> None:
    done = run_suite(tmp_path)
    assert done.returncode == 0
    assert "2 passed, 1 skipped" in done.stdout
    assert done.stdout.count("test session starts") == 1
    assert "flaky" not in done.stdout


def test_tests_that_pass_alone_are_listed_and_fail_nothing(tmp_path: Path) -> None:
    done = run_suite(tmp_path, flaky=2)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-2:] == [
        "flaky: test_sample.py::test_flaky[0]",
        "flaky: test_sample.py::test_flaky[1]",
    ]


def test_a_test_that_fails_again_fails_the_run(tmp_path: Path) -> None:
    done = run_suite(tmp_path, flaky=1, is_broken=True)
    assert done.returncode == 1
    assert "FAILED test_sample.py::test_broken" in done.stdout.rpartition("test session starts")[2]
    assert done.stdout.splitlines()[-1] == "flaky: test_sample.py::test_flaky[0]"


def test_more_than_five_failures_fail_the_run(tmp_path: Path) -> None:
    done = run_suite(tmp_path, flaky=MOST_FLAKY + 1)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "6 tests failed. Up to 5 run once more, so none did."


@pytest.mark.parametrize(("arguments", "status"), [(["-k", "nothing"], 5), (["--no-such-option"], 4)])
def test_a_run_that_did_not_run_tests_keeps_its_status(tmp_path: Path, arguments: list[str], status: int) -> None:
    assert run_suite(tmp_path, *arguments).returncode == status
