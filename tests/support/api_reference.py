"""Writes docs/reference.md, the public API, from the signatures and docstrings of the package: ``make reference``.

A function and its asynchronous twin share one entry. The sections of docstrings (``Args:``, ``Attributes:``,
``Raises:``) become lists, and a call such as ``amembers()`` in their text becomes a link.
"""

import inspect
import os
import re
import textwrap
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import django

from tests.support import signatures

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference.md"

# The public modules, in the order of the page.
MODULES = [
    "django_etp",
    "django_etp.consumers",
    "django_etp.auth",
    "django_etp.middleware",
    "django_etp.contrib.drf",
    "django_etp.rooms",
    "django_etp.signals",
    "django_etp.testing",
    "django_etp.pytest_plugin",
    "django_etp.client",
    "django_etp.protocol",
    "django_etp.exceptions",
]
# Names that two modules export are described with the later one, but these with the first.
_DESCRIBED_FIRST = {"Event"}
HEAD = """\
# Reference

The public API. This page is generated from the docstrings: to change it, change those and run `make reference`. Names
that are not listed here are internal and may change.

A function with an `a`-prefixed twin has one entry for both. Call the plain form from synchronous code, and `await` the
twin if an event loop runs in the thread. The keys of `ETP` are on the [settings](settings.md) page.

| module | contents |
|---|---|
"""

_SECTION = re.compile(r"^(Args|Attributes|Raises|Returns|Yields):\n", re.MULTILINE)
_ITEM = re.compile(r"(\w+(?:, \w+)*): (.*)")
_CALL = re.compile(r"(?<![\w.`])(\w+)\(\)(?!`)")
_SEE_TWIN = re.compile(r"See \w+\(\)\.")


def render() -> str:
    """Return the page. Django must be set up."""
    modules = [import_module(name) for name in MODULES]
    rows = [f"| [`{module.__name__}`](#{anchor(module.__name__)}) | {summary(module)} |" for module in modules]
    parts = [part for module in modules for part in module_parts(module)]
    return HEAD + "\n".join(rows) + "\n\n" + "\n\n".join(parts) + "\n"


def module_parts(module: ModuleType) -> Iterator[str]:
    values = {name: getattr(module, name) for name in public_names(module)}
    elsewhere = {name: each for name, each in values.items() if is_described_elsewhere(module, name)}
    values = {name: each for name, each in values.items() if name not in elsewhere}
    classes = {name: each for name, each in values.items() if inspect.isclass(each)}
    functions = {name: each for name, each in values.items() if callable(each) and name not in classes}
    yield f"## `{module.__name__}`"
    yield to_markdown(doc_of(module), {})
    if elsewhere:
        links = [f"[`{name}`](#{anchor(each.__name__)})" for name, each in elsewhere.items()]
        yield textwrap.fill(f"It also exports {', '.join(links)}.", 120, break_long_words=False, break_on_hyphens=False)
    for name in values:
        if name not in classes and name not in functions:
            line, comment = signatures.of_constant(module, name)
            yield f"### `{name}`"
            yield code(line)
            if comment:
                yield comment
    yield from function_parts(functions, "###", f"{module.__name__.rpartition('.')[2]}." if is_rooms(module) else "")
    for cls in classes.values():
        yield from class_parts(cls)


def function_parts(functions: dict[str, Any], level: str, owner: str) -> Iterator[str]:
    links = {name: f"#{anchor(owner + listed_name(name, functions))}" for name in functions}
    for name in dict.fromkeys(listed_name(name, functions) for name in functions):
        twins = {each: functions[each] for each in (name, f"a{name}") if each in functions}
        docs = [doc_of(function, owner + each) for each, function in twins.items()]
        doc = next((doc for doc in docs if not _SEE_TWIN.fullmatch(doc)), docs[0])
        yield f"{level} `{owner}{name}`"
        yield code(*signatures.of_twins(twins))
        yield to_markdown(doc, {other: link for other, link in links.items() if other not in twins})


def class_parts(cls: type) -> Iterator[str]:
    name = cls.__name__
    classes = [cls, *(base for base in cls.__bases__ if signatures.is_own(base))]
    members = {each: value for own in classes for each, value in vars(own).items() if not each.startswith("_")}
    functions = {each: getattr(cls, each) for each in members if callable(getattr(cls, each))}
    links = {each: f"#{anchor(f'{name}.{listed_name(each, functions)}')}" for each in functions}
    yield f"### `{name}`"
    yield code(signatures.of_class(cls))
    yield to_markdown(doc_of(cls), links)
    if name == "Rooms":
        yield "Its methods are the functions of this module, for the rooms of its namespace."
        return
    for each, value in members.items():
        if isinstance(value, property):
            yield f"#### `{name}.{each}`"
            yield code(signatures.of_property(each, value))
            yield to_markdown(doc_of(value, f"{name}.{each}"), links)
    yield from function_parts(functions, "####", f"{name}.")


def public_names(module: ModuleType) -> list[str]:
    """Return the names in ``__all__``, and the bound methods that the module exports as functions.

    Classes alone are in the order of the source, so that base classes come first.
    """
    names = list(module.__all__)
    names += [name for name, value in vars(module).items() if inspect.ismethod(value) and not name.startswith("_")]
    if all(inspect.isclass(getattr(module, name)) for name in names):
        names.sort(key=lambda name: inspect.getsourcelines(getattr(module, name))[1])
    return list(dict.fromkeys(names))


def is_described_elsewhere(module: ModuleType, name: str) -> bool:
    value, position = getattr(module, name), MODULES.index(module.__name__)
    if inspect.ismodule(value):
        return True
    others = MODULES[:position] if name in _DESCRIBED_FIRST else MODULES[position + 1 :]
    return inspect.isclass(value) and any(
        value is getattr(other, name, None) for other in map(import_module, others) if name in other.__all__
    )


def is_rooms(module: ModuleType) -> bool:
    return module.__name__ == "django_etp.rooms"


def listed_name(name: str, functions: Iterable[str]) -> str:
    """Return the name of a function's entry: that of its synchronous twin, if it has one."""
    return name[1:] if name[0] == "a" and name[1:] in functions else name


def doc_of(value: Any, name: str = "") -> str:
    doc = inspect.getdoc(inspect.unwrap(value) if callable(value) else value)
    assert doc, f"{name or value} is public and has no docstring."
    return doc


def summary(module: ModuleType) -> str:
    paragraph = doc_of(module).split("\n\n")[0].replace("\n", " ")
    return to_markdown(paragraph, {}).removesuffix(".")


def anchor(title: str) -> str:
    """Return the anchor that GitHub and the site give to a heading."""
    return re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")


def code(*lines: str) -> str:
    return "\n".join(["```pyi", *lines, "```"])


def to_markdown(doc: str, links: dict[str, str]) -> str:
    """Return a docstring as Markdown: its sections as lists, calls of the same owner as links."""
    text, *sections = _SECTION.split(doc)
    parts = [text]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        items, _, after = body.partition("\n\n")
        parts += [f"{title}:\n", *list_items(textwrap.dedent(items)), f"\n{after}"]
    markdown = "\n".join(parts).replace("``", "`")
    markdown = _CALL.sub(lambda call: f"[`{call[0]}`]({links[call[1]]})" if call[1] in links else call[0], markdown)
    return re.sub(r"\n{3,}", "\n\n", markdown).strip()


def list_items(body: str) -> Iterator[str]:
    for line in body.strip().splitlines():
        if item := _ITEM.match(line):
            yield "- " + ", ".join(f"`{name}`" for name in item[1].split(", ")) + f": {item[2]}"
        else:
            yield f"  {line.strip()}" if line.startswith(" ") else f"- {line}"


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    PAGE.write_text(render())
