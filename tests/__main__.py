"""Run the suite: ``python -m tests``, or a part of it: ``python -m tests -k rooms``, with any arguments of pytest.

All tests run in parallel, then the tests marked ``strain`` alone. Tests that failed then run once more, in one process
with nothing beside them. A test that passes then is listed as ``flaky: …`` in the last lines of the output and does not
fail the run. A test that fails again does, and so do more than ``MOST_FLAKY`` tests that failed at first.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["MOST_FLAKY", "run"]

MOST_FLAKY = 5

_IN_PARALLEL = ["-n", "auto", "--dist", "worksteal"]
# pytest-xdist stays loaded, since the configuration may use its hooks, but starts no workers.
_ALONE = ["-n", "0"]
# Hundreds of processes import the package: with bytecode that is kept, the suite takes a minute less.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_FINISHED = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)


def run(arguments: Sequence[str], cache: Path) -> int:
    """Run the tests that ``arguments`` select, or all of them, and return the exit status.

    pytest itself keeps in ``cache``, an empty folder, which tests failed.
    """
    whole = [[*_IN_PARALLEL, "-m", "not strain"], ["-m", "strain", "tests/strain"]]
    parts = [[*_IN_PARALLEL, *arguments]] if arguments else whole
    statuses = []
    if not arguments:
        _compile_tests()
    for part in parts:
        status = _pytest(cache, *part)
        if status not in _FINISHED:
            return status
        statuses.append(status)
        if len(failed := _failed(cache)) > MOST_FLAKY:
            print(f"{len(failed)} tests failed. Up to {MOST_FLAKY} run once more, so none did.")
            return pytest.ExitCode.TESTS_FAILED
    if all(status == pytest.ExitCode.OK for status in statuses):
        return pytest.ExitCode.OK
    if not failed:  # something else failed the run
        return pytest.ExitCode.TESTS_FAILED
    print(f"\n{len(failed)} of the tests failed and run once more, alone.", flush=True)
    status = _pytest(cache, *_ALONE, "--last-failed", "--last-failed-no-failures", "none")
    for test in sorted(failed - _failed(cache)):
        print(f"flaky: {test}")
    return status


def _compile_tests() -> None:
    """Have pytest compile all modules of tests, which each worker would otherwise do for itself at the same time.

    Errors in them are left to the run that follows.
    """
    modules = [str(path) for path in sorted(Path("tests").rglob("test_*.py"))]
    cores = os.cpu_count() or 1
    collect = [sys.executable, "-m", "pytest", "-qq", "--collect-only", "-p", "no:cacheprovider", *_ALONE]
    processes = [
        subprocess.Popen([*collect, *modules[core::cores]], env=_ENVIRONMENT, stdout=subprocess.DEVNULL)
        for core in range(cores)
    ]
    for process in processes:
        process.wait()


def _pytest(cache: Path, *arguments: str) -> int:
    command = [sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *arguments]
    return subprocess.run(command, env=_ENVIRONMENT).returncode


def _failed(cache: Path) -> set[str]:
    record = cache / "v" / "cache" / "lastfailed"  # as pytest's own --cache-show reads it
    return set(json.loads(record.read_text())) if record.exists() else set()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="etp-tests-") as directory:
        sys.exit(run(sys.argv[1:], Path(directory)))
