"""docs/reference.md is what the docstrings give, and lists all that is public."""

import re

from django_etp import Connection
from tests.support.api_reference import PAGE, render


def test_page_is_what_the_docstrings_give():
    assert PAGE.read_text() == render(), "run make reference"


def test_page_lists_all_that_a_connection_has():
    (section,) = re.findall(r"^### `Connection`\n(.*?)^### ", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    attributes = re.findall(r"^- `(\w+)`: ", section.split("\n#### ")[0], re.MULTILINE)
    properties = re.findall(r"^```pyi\n(\w+): ", section, re.MULTILINE)
    methods = re.findall(r"^(?:async )?def (\w+)\(", section, re.MULTILINE)
    listed = sorted([*attributes, *properties, *methods])
    assert listed == [name for name in dir(Connection) if not name.startswith("_")]
