"""Where things are: each module is of a size that can be read at once, and has a test module of its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "django_etp"
TESTS = Path(__file__).parents[1]

MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" and path.parent.name != "migrations"
)
MAX_LINES = 300
# Modules whose methods are pairs, one synchronous and one asynchronous, with the same arguments and documentation.
MAX_LINES_OF_TWINS = 400
TWINS = {"connections/connection.py"}


def name_of(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


every_module = pytest.mark.parametrize("module", MODULES, ids=name_of)


@every_module
def test_a_module_has_at_most_300_lines(module: Path) -> None:
    limit = MAX_LINES_OF_TWINS if name_of(module) in TWINS else MAX_LINES
    assert len(module.read_text().splitlines()) <= limit


@every_module
def test_a_module_has_a_test_module(module: Path) -> None:
    folder = Path(*[part for part in module.relative_to(PACKAGE).parent.parts if part != "commands"])
    assert (TESTS / folder / f"test_{module.name}").exists()


@every_module
def test_a_module_starts_with_a_sentence_on_what_it_is(module: Path) -> None:
    first_line = (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]
    assert first_line.endswith((".", ":"))
