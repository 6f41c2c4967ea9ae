"""Check the types of the Python in README.md and docs/ with mypy --strict, all pages in one run.

Examples leave out annotations that a strict reader adds. Here parameters get the types that they always have, by their
names, and all else is `Any`. What is written is checked as it is. Each page becomes a package with the README's project
in it, so that pages may have files of the same name.
"""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from django.core.management import call_command

from tests.support import documentation as docs
from tests.support.documentation import ROOT, Block

__all__ = ["complaints"]

# The types of parameters that handlers, views and hooks have; a page that uses other types writes them.
_TYPES = {"connection": "django_etp.Connection", "event": "django_etp.Event", "request": "django.http.HttpRequest"}
# Libraries without types. What is made of their classes and decorators has none, either.
_WITHOUT_TYPES = ["celery", "channels", "django_tenants", "rest_framework", "rest_framework_simplejwt"]
_WITHOUT_TYPES += ["uvicorn_worker", "whitenoise"]
_UNTYPED = re.compile("|".join(_WITHOUT_TYPES))
_IMPORT = re.compile(r"^(\s*)(from|import) (\w+)", re.MULTILINE)
_ERROR = re.compile(r"(\S+?):(\d+): error: (.*)")

# The first line of each file, which the annotations need.
_HEAD = "from __future__ import annotations; import typing, django.http, django_etp"
_LENIENT = "# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False"
_CONFIG = """
[tool.mypy]
strict = true
disallow_any_generics = false
untyped_calls_exclude = ["prometheus_client"]
explicit_package_bases = true
namespace_packages = true
plugins = ["mypy_django_plugin.main"]

[[tool.mypy.overrides]]
module = {untyped}
ignore_missing_imports = true

[tool.django-stubs]
django_settings_module = "settings_of_docs"
"""
_SETTINGS = """
from tests.settings import *
INSTALLED_APPS += {apps}
ETP = {{"EVENT_MODULES": []}}
"""
_APP = """
from django.apps import AppConfig

class Page(AppConfig):
    name = "{page}.chat"
    label = "{page}"
"""


@dataclass
class _File:
    """A file of a page: its lines, and the places of those that are from the page."""

    lines: list[str] = field(default_factory=list)
    places: dict[int, str] = field(default_factory=dict)

    def add(self, block: Block) -> None:
        for offset, line in enumerate(block.text.splitlines(), start=1):
            self.lines.append(line)
            self.places[len(self.lines)] = f"{_name_of(block.page)}:{block.line + offset}"


def complaints(pages: list[Path], directory: Path) -> list[str]:
    """Return the errors of mypy in the examples, each with its page and line; `directory` is empty."""
    project = _startproject(directory / "project")
    readme = _followed(docs.README, project)
    places: dict[tuple[str, int], str] = {}
    apps = []
    for page in pages:
        files = _followed(page, project if page.name in docs.FROM_SCRATCH else readme)
        package = re.sub(r"\W", "_", f"page_{_name_of(page)}")
        if "chat/models.py" in files and files["chat/models.py"].places:
            files["app_of_docs.py"] = _File(_APP.format(page=package).splitlines())
            apps.append(f"{package}.app_of_docs.Page")
        own = {Path(name).parts[0].removesuffix(".py") for name in files}
        for name in ("mysite/settings.py", "mysite/urls.py"):
            files[name].lines = _open("\n".join(files[name].lines)).split("\n")
        for name, file in files.items():
            target = directory / package / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_annotated("\n".join(file.lines), f"{package}.", own))
            places |= {(f"{package}/{name}", line + 1): place for line, place in file.places.items()}
    (directory / "settings_of_docs.py").write_text(_SETTINGS.format(apps=apps))
    (directory / "mypy.toml").write_text(_CONFIG.format(untyped=[f"{name}.*" for name in _WITHOUT_TYPES]))
    found = []
    for name, line, message in _ERROR.findall(_mypy(directory)):
        if place := places.get((name, int(line))):
            found.append(f"{place}: {message}")
    return found


def _name_of(page: Path) -> str:
    return os.path.relpath(page, ROOT / "docs")


def _startproject(directory: Path) -> dict[str, _File]:
    """Return the files of a new project with an app."""
    (directory / "chat").mkdir(parents=True)
    call_command("startproject", "mysite", directory)
    call_command("startapp", "chat", directory / "chat")
    files = {}
    for name in ("chat/models.py", "mysite/asgi.py", "mysite/settings.py", "mysite/urls.py"):
        files[name] = _File((directory / name).read_text().splitlines())
    return files


def _followed(page: Path, project: dict[str, _File]) -> dict[str, _File]:
    """Return the files of a project after a page; the lines of the project have no places any more."""
    files = {name: _File(list(file.lines)) for name, file in project.items()}
    written: set[str] = set()
    for block in docs.blocks_of(page):
        # gunicorn.conf.py is no module.
        if block.language == "python" and block.file and Path(block.file).stem.isidentifier():
            if not (block.is_addition or block.file in written):
                files[block.file] = _File()
            files.setdefault(block.file, _File()).add(block)
            written.add(block.file)
    return files


def _open(text: str) -> str:
    """Return a module whose collections take what another page, or a project, puts in the place of the first values."""
    seen: set[str] = set()

    def annotate(found: re.Match[str]) -> str:
        is_first = found[1] not in seen
        seen.add(found[1])
        return f"{found[1]}: typing.Any = " if is_first else found[0]

    return re.sub(r"^(urlpatterns|[A-Z_]+) = (?=[\[{])", annotate, text, flags=re.MULTILINE)


def _annotated(text: str, prefix: str, own: set[str]) -> str:
    """Return a module with annotations for all functions, whose imports find the modules of its page."""
    text = _IMPORT.sub(lambda found: f"{found[1]}{found[2]} {prefix * (found[3] in own)}{found[3]}", text)
    tree = ast.parse(text)
    methods = {each for owner in ast.walk(tree) if isinstance(owner, ast.ClassDef) for each in owner.body}
    additions = [
        addition
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for addition in _missing(function, text, is_method=function in methods)
    ]
    for at, annotation in sorted(additions, reverse=True):
        text = text[:at] + annotation + text[at:]
    return "\n".join([_HEAD, text, _LENIENT if _UNTYPED.search(text) else "", ""])


def _missing(
    function: ast.FunctionDef | ast.AsyncFunctionDef, text: str, *, is_method: bool
) -> Iterator[tuple[int, str]]:
    """Yield the annotations that a function lacks, each with its place in the text."""
    starts = [0, *(found.end() for found in re.finditer("\n", text))]
    every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    every += filter(None, [function.args.vararg, function.args.kwarg])
    end = starts[function.lineno - 1]
    for index, argument in enumerate(every):
        assert argument.end_lineno is not None
        assert argument.end_col_offset is not None
        end = max(end, starts[argument.end_lineno - 1] + argument.end_col_offset)
        if argument.annotation is None and not (is_method and index == 0):
            at = starts[argument.end_lineno - 1] + argument.end_col_offset
            yield at, f": {_TYPES.get(argument.arg, 'typing.Any')}"
    if function.returns is None:
        closed = re.compile(r"\)(?=\s*:)").search(text, end)
        assert closed, f"def {function.name} has no end"
        yield closed.end(), " -> None" if function.name == "__init__" else " -> typing.Any"


def _mypy(directory: Path) -> str:
    """Return what mypy prints about all packages of a directory. Its cache stays beside that of make lint."""
    paths = {"MYPYPATH": str(directory), "PYTHONPATH": os.pathsep.join([str(directory), str(ROOT)])}
    options = ["--config-file", "mypy.toml", "--cache-dir", str(ROOT / ".mypy_cache" / "docs"), "--no-color-output"]
    process = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *(path.name for path in sorted(directory.glob("page_*")))],
        cwd=directory,
        env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | paths,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert process.returncode in (0, 1), process.stdout + process.stderr
    return process.stdout
