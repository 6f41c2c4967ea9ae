"""Run the Autobahn testsuite against the protocol class for uvicorn: ``make conformance``.

It needs Python 2.7 and is not part of the tests. Groups 1 to 7 are frames, 10 is fragmentation, 12 and 13 are
compressed messages, some of which have 1,000 messages of 128 KiB. Group 9 measures speed.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.servers import start_server

GROUPS = ["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "12.*", "13.*"]
RUN = "from autobahntestsuite import wstest; wstest.run()"


def main() -> None:
    """Run the groups of the command line, print a table, and fail if a case has failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--python", required=True, help="a Python 2.7")
    parser.add_argument("--packages", required=True, type=Path, help="the directory of autobahntestsuite")
    parser.add_argument("--ws", default="django_etp.uvicorn:Protocol", help="the option of uvicorn")
    parser.add_argument("--cases", nargs="+", default=GROUPS, metavar="CASE")
    parser.add_argument("--keep", type=Path, help="a directory for the report in HTML")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that the server ends, too
    with tempfile.TemporaryDirectory(prefix="etp-conformance-") as directory:
        report = _run(arguments, arguments.keep or Path(directory))
    sys.exit(_print(report))


def _run(arguments: argparse.Namespace, directory: Path) -> dict[str, dict[str, str]]:
    directory.mkdir(parents=True, exist_ok=True)
    with start_server("uvicorn", "tests.support.asgi_sites:application", options=["--ws", arguments.ws]) as server:
        spec = directory / "spec.json"
        target = {"agent": "server", "url": f"ws://127.0.0.1:{server.port}/echo", "options": {"version": 18}}
        spec.write_text(
            json.dumps(
                {
                    "options": {"failByDrop": False},
                    "outdir": str(directory.resolve()),
                    "servers": [target],
                    "cases": arguments.cases,
                    "exclude-cases": [],
                    "exclude-agent-cases": {},
                }
            )
        )
        command = [arguments.python, "-W", "ignore", "-c", RUN, "-m", "fuzzingclient", "-s", str(spec)]
        environment = {**os.environ, "PYTHONPATH": str(arguments.packages.resolve())}
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    index = directory / "index.json"
    if not index.exists():
        sys.exit(f"The testsuite made no report:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    report: dict[str, dict[str, str]] = json.loads(index.read_text())["server"]
    return report


def _print(report: dict[str, dict[str, str]]) -> str | None:
    groups: dict[int, Counter[str]] = {}
    for case, result in report.items():
        groups.setdefault(int(case.split(".")[0]), Counter())[result["behavior"]] += 1
    for group, counts in sorted(groups.items()):
        print(f"{group:>3}  " + ", ".join(f"{count} {behavior}" for behavior, count in sorted(counts.items())))
    total = sum(groups.values(), Counter())
    print(f"all  {', '.join(f'{count} {behavior}' for behavior, count in sorted(total.items()))}")
    failed = [
        case
        for case, result in report.items()
        if result["behavior"] in {"FAILED", "UNIMPLEMENTED"} or result["behaviorClose"] == "FAILED"
    ]
    return f"Failed: {', '.join(sorted(failed))}" if failed or not report else None


if __name__ == "__main__":
    main()
