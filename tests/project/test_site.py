"""The site that ``make docs`` builds has all pages and all that they link to; the build itself is not run here."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.documentation import ROOT

SITE = ROOT / "docs" / "site"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of pages that the site is built from."""
    target = tmp_path_factory.mktemp("pages")
    subprocess.run([sys.executable, SITE / "collect.py", target], check=True)
    return target


def test_links_lead_to_files_of_the_site(pages: Path):
    broken = []
    for page in pages.rglob("*.md"):
        text = re.sub(r"^```.*?^```$|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target and not (page.parent / target).is_file():
                broken.append(f"{page.relative_to(pages)}: {target}")
    assert broken == []


def test_navigation_names_pages_that_exist(pages: Path):
    named = re.findall(r"- (?:[\w ]+: )?([\w/-]+\.md)$", (SITE / ".nav.yml").read_text(), re.MULTILINE)
    assert len(named) > 10
    assert [name for name in named if not (pages / name).is_file()] == []
