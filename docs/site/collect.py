"""Copies the pages of the site, and every file of the repository that they link to, into the folder given."""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

_CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)")


def collect(target: Path) -> None:
    pages = list(START)
    for page in pages:  # it grows
        copy = target / page.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page, copy)
        pages += [linked for linked in links_of(page) if linked not in pages]
    for name in (".nav.yml", "site.css"):
        shutil.copyfile(ROOT / "docs" / "site" / name, target / name)


def links_of(page: Path) -> list[Path]:
    """Return the files of the repository that a page links to; a link that leads nowhere is for the build to report."""
    if page.suffix != ".md":
        return []
    targets = [target for target in _LINK.findall(_CODE.sub("", page.read_text())) if "://" not in target]
    files = [(page.parent / target).resolve() for target in targets]
    return [file for file in files if file.is_file() and file.is_relative_to(ROOT)]


if __name__ == "__main__":
    collect(Path(sys.argv[1]))
