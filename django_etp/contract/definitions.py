"""The JSON schemas of a contract: from those of the libraries to those of AsyncAPI, with the named types in one place.

Rules kept here:

- The dialect is that of AsyncAPI, JSON Schema draft 7. The libraries write draft 2020-12.
- Each named type is there once. If a class is sent in another form than it is read in, the name of the second form ends
  with "In" or "Out". Other types with the same name get a number.
- Values inside of schemas, such as defaults, stay as they are, also if they look like schemas.
"""

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain, count
from typing import Any

from .model import Schema

__all__ = ["PREFIX", "Definitions", "map_schemas", "references_in"]

# The beginning of the references, and of those of the libraries.
PREFIX = "#/components/schemas/"
_LOCAL = "#/$defs/"

# Keywords whose values are schemas, lists of them, and objects of them.
_SCHEMAS = (
    "additionalItems",
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
)
_LISTS = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_OBJECTS = ("$defs", "definitions", "patternProperties", "properties")


def map_schemas(schema: dict[str, Any], change: Callable[[Any], Any]) -> dict[str, Any]:
    """Return a schema with each of the schemas directly inside of it changed."""
    changed = dict(schema)
    for name, value in schema.items():
        if name in _OBJECTS and isinstance(value, dict):
            changed[name] = {key: change(each) for key, each in value.items()}
        elif name in _LISTS and isinstance(value, list):
            changed[name] = [change(each) for each in value]
        elif name in _SCHEMAS and isinstance(value, dict | bool):
            changed[name] = change(value)
    return changed


def references_in(schema: Schema) -> Iterator[str]:
    """Yield the references in a schema."""
    found: list[str] = []

    def collect(part: Any) -> Any:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                found.append(part["$ref"])
            map_schemas(part, collect)
        return part

    collect(schema)
    yield from found


class Definitions:
    """The named types of a contract.

    Attributes:
        schemas: them, by their names.
    """

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[str, str] = {}  # by the text of a type and of all that it refers to

    def add(self, schema: dict[str, Any], *, is_sent: bool) -> Schema:
        """Return the schema of a library as one of the contract; its named types are added to the others."""
        local = schema.get("$defs", {})
        rest = {name: value for name, value in schema.items() if name != "$defs"}
        if not rest:
            return True
        names = {name: self._name(name, local, is_sent=is_sent) for name in local}
        for name, each in local.items():
            self.schemas.setdefault(names[name], _converted(each, names))
        if rest.get("type") == "object" and rest.get("properties") and "title" in rest:
            name = self._name("", {**local, "": rest}, title=str(rest["title"]), is_sent=is_sent)
            self.schemas.setdefault(name, _converted(rest, names))
            return {"$ref": f"{PREFIX}{name}"}
        converted: Schema = _converted(rest, names)
        return converted

    def _name(self, name: str, local: dict[str, Any], *, title: str = "", is_sent: bool) -> str:
        """Return the name of a type in the contract."""
        reachable = {name: local[name]}
        waiting = [name]
        while waiting:
            for reference in references_in(local[waiting.pop()]):
                other = reference.removeprefix(_LOCAL)
                if other not in reachable:
                    reachable[other] = local[other]
                    waiting.append(other)
        wanted = re.sub(r"\W+", "_", title or name, flags=re.ASCII).strip("_") or "Type"
        # A type at the top has no name of its own among the local ones.
        text = json.dumps(
            [wanted, local[name], {key: reachable[key] for key in sorted(reachable) if key != name}], default=str
        )
        if text not in self._names:
            taken, direction = set(self._names.values()), "Out" if is_sent else "In"
            names = chain([wanted, wanted + direction], (f"{wanted}{number}" for number in count(2)))
            self._names[text] = next(name for name in names if name not in taken)
        return self._names[text]


def _converted(schema: Any, names: dict[str, str]) -> Any:
    """Return a schema in the dialect of AsyncAPI, with the references of the contract."""
    if not isinstance(schema, dict):
        return schema
    schema = map_schemas(schema, lambda each: _converted(each, names))
    schema.pop("discriminator", None)  # which has another form in AsyncAPI; the types of the union are enough
    if "prefixItems" in schema:
        rest = schema.pop("items", None)
        schema["items"] = schema.pop("prefixItems")
        if rest is not None:
            schema["additionalItems"] = rest
    if isinstance(reference := schema.get("$ref"), str):
        schema["$ref"] = PREFIX + names[reference.removeprefix(_LOCAL)]
        if len(schema) > 1:  # draft 7 ignores what is beside a reference
            schema = {"allOf": [{"$ref": schema.pop("$ref")}], **schema}
    return schema
