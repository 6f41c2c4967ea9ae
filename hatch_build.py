"""The README as a package index shows it, where no other file of the repository is beside it."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_RELATIVE_LINK = re.compile(r"\[([^\]]+)\]\((?!https?://)([^)]+)\)")


class ReadmeHook(MetadataHookInterface):
    """Write links to files of the repository as text."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the readme of the package."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        metadata["readme"] = {"content-type": "text/markdown", "text": _RELATIVE_LINK.sub(_as_text, text)}


def _as_text(link: re.Match[str]) -> str:
    text, target = link.groups()
    return text if text == target or target.startswith("#") else f"{text} ({target})"
