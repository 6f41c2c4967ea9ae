"""The alternatives of a JSON schema: the types of a union, the values of an enumeration, one after the other."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .definitions import PREFIX
from .limits import NOTES
from .model import Schema

__all__ = ["Alternative", "alternatives", "is_any", "text_of"]


@dataclass(frozen=True, slots=True)
class Alternative:
    """One alternative, which is no union and no reference.

    Attributes:
        schema: its schema.
        name: the name of the type that it is, or is part of; empty if there is none.
    """

    schema: Schema
    name: str = ""

    @property
    def key(self) -> str:
        """A text that differs for each alternative."""
        return f"{self.name} {json.dumps(self.schema, sort_keys=True)}"

    @property
    def kind(self) -> str:
        """The kind of its values: those of two kinds have nothing in common that is worth telling."""
        if not isinstance(self.schema, dict):
            return "any"
        return "const" if "const" in self.schema else str(self.schema.get("type", "any"))

    @property
    def text(self) -> str:
        """It, for messages."""
        return self.name if self.name and self.kind in ("array", "object") else text_of(self.schema)


def alternatives(schema: Schema, types: dict[str, Schema]) -> list[Alternative]:
    """Return the alternatives of a schema, whose references are to these types."""
    return list(_alternatives(schema, types, "", frozenset()))


def is_any(schema: Schema) -> bool:
    """Return whether a schema allows any value."""
    return schema is True or (isinstance(schema, dict) and schema.keys() <= NOTES)


def text_of(schema: Schema) -> str:
    """Return a short text for a schema, for messages."""
    if not isinstance(schema, dict) or is_any(schema):
        return "nothing" if schema is False else "any value"
    if "const" in schema:
        return f"the value {json.dumps(schema['const'])}"
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(PREFIX)
    kind = schema.get("type", "another type")
    if kind == "array" and isinstance(schema.get("items"), dict):
        return f"array of {text_of(schema['items'])}"
    return f"{kind} ({schema['format']})" if "format" in schema else str(kind)


def _alternatives(schema: Schema, types: dict[str, Schema], name: str, seen: frozenset[str]) -> Iterator[Alternative]:
    if not isinstance(schema, dict):
        if schema:
            yield Alternative(True, name)
        return
    rules = {keyword: value for keyword, value in schema.items() if keyword not in NOTES}
    match rules:
        case {"$ref": str(reference), **rest} if not rest:
            other = reference.removeprefix(PREFIX)
            if other not in seen:  # else it is a union that holds itself, and adds nothing
                yield from _alternatives(types[other], types, other, seen | {other})
        case {"allOf": [only], **rest} if not rest:
            yield from _alternatives(only, types, name, seen)
        case {"anyOf": members, **rest} | {"oneOf": members, **rest} if not rest:
            for member in members:
                yield from _alternatives(member, types, name, seen)
        case {"$ref": _} | {"allOf": _} | {"anyOf": _} | {"oneOf": _}:
            yield Alternative({"allOf": list(_parts(rules))}, name)
        case {"enum": values}:
            yield from (Alternative({"const": value}, name) for value in values)
        case {"const": value}:
            yield Alternative({"const": value}, name)
        case {"type": [*kinds]}:
            yield from (Alternative({**rules, "type": kind}, name) for kind in kinds)
        case _:
            yield Alternative(rules or True, name)


def _parts(rules: dict[str, Any]) -> Iterator[Schema]:
    """Yield the schemas that values must fit, all of them."""
    for keyword in ("$ref", "anyOf", "oneOf"):
        if keyword in rules:
            yield {keyword: rules[keyword]}
    yield from rules.get("allOf", ())
    rest = {keyword: value for keyword, value in rules.items() if keyword not in ("$ref", "allOf", "anyOf", "oneOf")}
    if rest:
        yield rest
