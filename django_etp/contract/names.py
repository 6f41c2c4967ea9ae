"""The patterns of declared rooms in a contract: their addresses, and whether one matches all names of another one."""

import re
from collections.abc import Iterator

__all__ = ["address_of", "converters_of", "may_lose_names", "shape_of", "template_of"]

_PARAMETER = re.compile(r"<(?:(?P<converter>[^>:]+):)?(?P<name>[^>]+)>")

# The converters that take all texts of another one.
_WIDER = {
    "int": ("slug", "str", "path"),
    "slug": ("str", "path"),
    "uuid": ("slug", "str", "path"),
    "str": ("path",),
}


def converters_of(pattern: str) -> dict[str, str]:
    """Return the converters of a pattern by the names of its parameters, in their order."""
    return {found["name"]: found["converter"] or "str" for found in _PARAMETER.finditer(pattern)}


def address_of(pattern: str) -> str:
    """Return a pattern as an address of AsyncAPI: ``orders/<int:pk>`` as ``orders/{pk}``."""
    return _PARAMETER.sub(lambda found: f"{{{found['name']}}}", pattern)


def shape_of(pattern: str) -> str:
    """Return the literal parts of a pattern, which stay the same if parameters are renamed."""
    return _PARAMETER.sub("<>", pattern)


def may_lose_names(old: str, new: str) -> bool:
    """Return whether a pattern of the same shape may not match all names that the old one matches."""
    pairs: Iterator[tuple[str, str]] = zip(converters_of(old).values(), converters_of(new).values(), strict=True)
    return any(after != before and after not in _WIDER.get(before, ()) for before, after in pairs)


def template_of(pattern: str) -> str:
    """Return the names of a pattern as a type of TypeScript: ``orders/<int:pk>`` as ```orders/${number}```."""
    converters = iter(converters_of(pattern).values())
    literals = [re.sub(r"([`\\]|\$\{)", r"\\\1", literal) for literal in _PARAMETER.sub("\0", pattern).split("\0")]
    text = literals[0]
    for literal in literals[1:]:
        text += ("${number}" if next(converters) == "int" else "${string}") + literal
    return f"`{text}`"
