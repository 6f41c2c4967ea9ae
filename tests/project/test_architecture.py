"""docs/architecture.md describes the package as it is: it names modules that exist, all packages, all import rules."""

import re
import tomllib

from tests.support.documentation import ROOT

PACKAGE = ROOT / "django_etp"
TEXT = (ROOT / "docs" / "architecture.md").read_text()


def test_modules_exist():
    modules = set(re.findall(r"(?<![\w/])((?:\w+/)*\w+\.py)\b", TEXT))
    assert len(modules) > 30
    assert sorted(module for module in modules if not (PACKAGE / module).is_file()) == []


def test_table_lists_every_package():
    listed = re.findall(r"^\| `(\w+)/` \|", TEXT, re.MULTILINE)
    assert sorted(listed) == sorted(init.parent.name for init in PACKAGE.glob("*/__init__.py"))


def test_import_rules_are_those_that_lint_checks():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    (rows,) = re.findall(r"^```text\n(apps .*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert rows.splitlines() == [re.sub(r"[()]", "", layer) for layer in layers]
