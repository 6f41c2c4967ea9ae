"""The types of a contract as declarations of TypeScript."""

import json
import re
from collections.abc import Iterable, Iterator, Set
from typing import Any

from .alternatives import alternatives
from .definitions import PREFIX
from .model import Payload, Schema

__all__ = ["Declarations", "key_of"]

_SIMPLE = {
    "boolean": "boolean",
    "integer": "number",
    "null": "null",
    "number": "number",
    "string": "string",
}


class Declarations:
    """The named types of a contract, with names that TypeScript takes.

    Args:
        schemas: the types, by their names in the contract.
        reserved: names that others have.
    """

    def __init__(self, schemas: dict[str, Schema], *, reserved: Set[str]) -> None:
        self._schemas = schemas
        self._names: dict[str, str] = {}
        for name in schemas:
            # All keywords and the names of all simple types begin with small letters.
            wanted = re.sub(r"\W", "_", name, flags=re.ASCII)
            wanted = wanted[:1].upper() + wanted[1:] if not wanted[:1].isdigit() else f"_{wanted}"
            free, number = wanted, 1
            while free in reserved or free in self._names.values():
                number += 1
                free = f"{wanted}{number}"
            self._names[name] = free

    def all(self) -> Iterator[str]:
        """Yield the declaration of each named type."""
        for name, schema in self._schemas.items():
            lines = list(self.comment(schema.get("description", "") if isinstance(schema, dict) else "", ""))
            text = self.of(schema)
            if text.startswith("{\n") and text.endswith("\n}") and text.count("\n}") == 1:
                lines.append(f"export interface {self._names[name]} {text}")
            else:
                lines.append(f"export type {self._names[name]} = {text};")
            yield "\n".join([*lines, ""])

    def comment(self, text: object, indent: str) -> Iterator[str]:
        """Yield the lines of a comment; none if there is no text."""
        words = " ".join(str(text).replace("*/", "*\\/").split())
        if words:
            yield f"{indent}/** {words} */"

    def of(self, schema: Schema, indent: str = "") -> str:
        """Return the type of the values of a schema."""
        if not isinstance(schema, dict):
            return "any" if schema else "never"
        match schema:
            case {"$ref": str(reference)}:
                return self._names[reference.removeprefix(PREFIX)]
            case {"const": value}:
                return _literal(value)
            case {"enum": values}:
                return _union(map(_literal, values))
            case {"anyOf": members} | {"oneOf": members}:
                return _union(self.of(member, indent) for member in members)
            case {"allOf": members}:
                return " & ".join(_grouped(self.of(member, indent)) for member in members)
            case {"type": [*kinds]}:
                return _union(self.of({**schema, "type": kind}, indent) for kind in kinds)
            case {"type": "array"}:
                return self._array(schema, indent)
            case {"type": "object"}:
                return self._object(schema, indent)
            case {"type": str(kind)}:
                return _SIMPLE.get(kind, "any")
        return "any"

    def received(self, payload: Payload, indent: str) -> str:
        """Return the type of data that a client gets. No data is ``""``, or ``null`` with the codec "json"."""
        text = self.of(payload.schema, indent)
        kinds = {each.kind for each in alternatives(payload.schema, self._schemas)}
        return _union([text, '""']) if "null" in kinds else text

    def _array(self, schema: dict[str, Any], indent: str) -> str:
        items = schema.get("items", True)
        if not isinstance(items, list):
            return f"{_grouped(self.of(items, indent))}[]"
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        parts = [_grouped(self.of(item, indent)) + ("" if index < least else "?") for index, item in enumerate(items)]
        rest = schema.get("additionalItems", True)
        if rest is not False and (most is None or most > len(items)):
            parts.append(f"...{_grouped(self.of(rest, indent))}[]")
        return f"[{', '.join(parts)}]"

    def _object(self, schema: dict[str, Any], indent: str) -> str:
        inner, required = f"{indent}  ", schema.get("required", ())
        fields: list[str] = []
        for name, each in schema.get("properties", {}).items():
            fields += self.comment(each.get("description", "") if isinstance(each, dict) else "", inner)
            fields.append(f"{inner}{key_of(name)}{'' if name in required else '?'}: {self.of(each, inner)};")
        others = [schema.get("additionalProperties", not fields), *schema.get("patternProperties", {}).values()]
        others = [each for each in others if each is not False]
        if others:
            # With fields beside them, all fields must fit this type.
            kind = "any" if fields else _union(self.of(each, inner) for each in others)
            fields.append(f"{inner}[name: string]: {kind};")
        return "\n".join(["{", *fields, f"{indent}}}"]) if fields else "{}"


def key_of(name: str) -> str:
    """Return the name of a field, in quotes if it needs them."""
    return name if re.fullmatch(r"[A-Za-z_$][\w$]*", name, re.ASCII) else json.dumps(name)


def _literal(value: Any) -> str:
    """Return the type of one value."""
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{ {' '.join(f'{key_of(name)}: {_literal(each)};' for name, each in value.items())} }}"
    return json.dumps(value)


def _union(members: Iterable[str]) -> str:
    different = dict.fromkeys(members)
    return "any" if "any" in different else " | ".join(different) or "never"


def _grouped(text: str) -> str:
    """Return a type in brackets if it is a union or an intersection, so that it can be part of another one."""
    return f"({text})" if re.search(r"[|&]", text) else text
