"""Run the benchmarks and print their table: ``python -m benchmarks``; see --help."""

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.harness.matches import Match
from benchmarks.harness.servers import CLIENT_CORE, SERVERS, pin
from benchmarks.harness.sites import Stage
from benchmarks.workloads.session_data import make_database

from .plans import against_reference, full, short
from .report import footing, heading, line

try:
    from uvloop import run
except ImportError:
    from asyncio import run


def main() -> None:
    """Run the matches that the command line selects."""
    arguments = _parser().parse_args()
    plan = full if arguments.full else short
    planned = [*plan(arguments.servers), *(against_reference(arguments.reference) if arguments.reference else ())]
    matches = [match for match in planned if arguments.only in match.label]
    _allow_many_sockets()
    pin(CLIENT_CORE)
    run(_measure(matches, arguments.rounds))


async def _measure(matches: list[Match], rounds: int | None) -> None:
    start = time.monotonic()
    print(heading(), flush=True)
    with tempfile.TemporaryDirectory(prefix="etp-bench-") as directory:
        database = Path(directory) / "db.sqlite3"
        await asyncio.to_thread(make_database, database)
        with Stage(str(database)) as stage:
            where = ""
            for match in matches:
                if match.where != where:
                    stage.clear()
                    where = match.where
                if match.can_run:
                    print(line(match, await match.run(stage, rounds)), flush=True)
    print(f"\n{footing(matches)} It took {(time.monotonic() - start) / 60:.1f} minutes.")


def _allow_many_sockets() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--full", action="store_true", help="measure everything in an hour; otherwise a selection in five minutes"
    )
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=["daphne", "uvicorn"], metavar="SERVER")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="measure only lines that contain this in 'where: work: one / other'"
    )
    parser.add_argument(
        "--reference",
        metavar="PROGRAM",
        help="compare with the Go reference, too: its server, as docs/benchmarks.md says",
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="the number of rounds of each match")
    return parser


if __name__ == "__main__":
    main()
