"""Whether all values of one JSON schema fit another one.

Rules kept here:

- Types of incoming data are contravariant: all values that fitted the old type must fit the new one. Types of outgoing
  data are covariant: all values that fit the new type must fit the old one. So both are one question: do all values of
  the ``given`` type fit the ``wanted`` type?
- Names of types do not matter.
- In doubt the answer is no: a keyword that is not understood must be the same on both sides.
- An object has the fields that its schema lists, and others only if ``additionalProperties`` allows them. A reader
  ignores other fields, unless ``additionalProperties`` is false.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .alternatives import Alternative, alternatives, is_any, text_of
from .limits import STRUCTURE, holds, value_fits
from .model import Schema

__all__ = ["Misfit", "misfits"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """A part of a value that may not fit.

    Attributes:
        path: its place, such as ``lines[].price``; empty for the whole value.
        kind: ``type``, ``missing``, ``unwanted``, or the keyword of a limit.
        given: the type or the limit of the given values.
        wanted: the type or the limit that they should have.
    """

    path: str
    kind: str
    given: str = ""
    wanted: str = ""


def misfits(
    given: Schema, given_types: dict[str, Schema], wanted: Schema, wanted_types: dict[str, Schema], *, is_strict: bool
) -> list[Misfit]:
    """Return the parts of the given values that may not fit; the types are those that the schemas name.

    ``is_strict``: whether ``additionalProperties: false`` refuses other fields. Those who get a value ignore them.
    """
    comparison = _Comparison(given_types, wanted_types, is_strict=is_strict)
    while True:
        known = len(comparison.failed)
        comparison.visited.clear()
        found = list(comparison.compare(given, wanted, ""))
        if len(comparison.failed) == known:
            return found


class _Comparison:
    """One question. Types that refer to themselves are taken to fit until one of them is found not to.

    Each pair of types is compared once a round. If a round finds a pair that does not fit, another round follows, and
    nothing relies on that pair in it.
    """

    def __init__(self, given_types: dict[str, Schema], wanted_types: dict[str, Schema], *, is_strict: bool) -> None:
        self.failed: set[tuple[str, str]] = set()
        self.visited: set[tuple[str, str]] = set()
        self._given_types = given_types
        self._wanted_types = wanted_types
        self._is_strict = is_strict

    def compare(self, given: Schema, wanted: Schema, path: str) -> Iterator[Misfit]:
        """Yield the parts of the given values that may not fit."""
        accepted = alternatives(wanted, self._wanted_types)
        for each in alternatives(given, self._given_types):
            results = [(other, self._once(each, other, path)) for other in accepted]
            if any(not found for _, found in results):
                continue
            alike = [found for other, found in results if other.kind in (each.kind, "any")]
            if len(alike) == 1:
                yield from alike[0]
            else:
                yield Misfit(path, "type", each.text, " or ".join(dict.fromkeys(other.text for other in accepted)))

    def _once(self, given: Alternative, wanted: Alternative, path: str) -> list[Misfit]:
        """Compare two alternatives, or return the known result."""
        if not (given.name or wanted.name):
            return list(self._compare(given.schema, wanted.schema, path))
        pair = (given.key, wanted.key)
        if pair in self.visited:
            return [Misfit(path, "type", given.text, f"{wanted.text} as it was")] if pair in self.failed else []
        self.visited.add(pair)
        found = list(self._compare(given.schema, wanted.schema, path))
        if found:
            self.failed.add(pair)
        return found

    def _compare(self, given: Schema, wanted: Schema, path: str) -> Iterator[Misfit]:
        if is_any(wanted):
            return
        if isinstance(wanted, dict) and "allOf" in wanted:
            for part in wanted["allOf"]:
                yield from self.compare(given, part, path)
        elif isinstance(given, dict) and "allOf" in given:
            if all(list(self.compare(part, wanted, path)) for part in given["allOf"]):
                yield Misfit(path, "type", text_of(given), text_of(wanted))
        elif isinstance(given, dict) and isinstance(wanted, dict) and not is_any(given):
            yield from self._compare_kinds(given, wanted, path)
        else:
            yield Misfit(path, "type", text_of(given), text_of(wanted))

    def _compare_kinds(self, given: dict[str, Any], wanted: dict[str, Any], path: str) -> Iterator[Misfit]:
        kind, expected = given.get("type"), wanted.get("type")
        if "const" in given:
            fits = value_fits(given["const"], wanted)
        else:
            fits = "const" not in wanted and (expected in (None, kind) or (kind == "integer" and expected == "number"))
        if not fits:
            yield Misfit(path, "type", text_of(given), text_of(wanted))
        elif "const" not in given:
            for keyword, limit in wanted.items():
                if keyword not in STRUCTURE and not holds(given, keyword, limit):
                    yield Misfit(path, keyword, _value(given, keyword), _value(wanted, keyword))
            if kind == "object":
                yield from self._compare_fields(given, wanted, path)
            elif kind == "array":
                yield from self._compare_items(given, wanted, path)

    def _compare_fields(self, given: dict[str, Any], wanted: dict[str, Any], path: str) -> Iterator[Misfit]:
        offered, expected = given.get("properties", {}), wanted.get("properties", {})
        others, taken = given.get("additionalProperties", False), wanted.get("additionalProperties", True)
        if taken is False and not self._is_strict:
            taken = True
        for name in {**expected, **offered, **dict.fromkeys(wanted.get("required", ()))}:
            place = f"{path}.{name}" if path else name
            if name in wanted.get("required", ()) and name not in given.get("required", ()):
                yield Misfit(place, "missing")
            if name not in offered:
                # Other fields of any kind, beside those listed, are nothing that a client means to send.
                if name in expected and others is not False and not (offered and is_any(others)):
                    yield from self.compare(others, expected[name], place)
            elif name in expected:
                yield from self.compare(offered[name], expected[name], place)
            elif taken is False:
                yield Misfit(place, "unwanted")
            else:
                yield from self.compare(offered[name], taken, place)
        yield from self._compare_others(given, wanted, others, taken, f"{path}{{}}")

    def _compare_others(
        self, given: dict[str, Any], wanted: dict[str, Any], others: Schema, taken: Schema, place: str
    ) -> Iterator[Misfit]:
        """Compare the fields whose names the schemas do not list."""
        expected = wanted.get("patternProperties", {})
        patterns = given.get("patternProperties", {})
        for pattern, each in patterns.items():
            if taken is False and pattern not in expected:
                yield Misfit(place, "unwanted")
            else:
                yield from self.compare(each, expected.get(pattern, taken), place)
        if others is not False:
            if taken is False:
                yield Misfit(place, "unwanted")
            else:
                for each in [taken, *(each for pattern, each in expected.items() if pattern not in patterns)]:
                    yield from self.compare(others, each, place)
        if "propertyNames" in wanted:
            yield from self.compare(given.get("propertyNames", {"type": "string"}), wanted["propertyNames"], place)

    def _compare_items(self, given: dict[str, Any], wanted: dict[str, Any], path: str) -> Iterator[Misfit]:
        positions = max(len(each["items"]) if isinstance(each.get("items"), list) else 0 for each in (given, wanted))
        most = given.get("maxItems")
        for index in range(positions if most is None else min(positions, most)):
            yield from self.compare(_item(given, index), _item(wanted, index), f"{path}[{index}]")
        if most is None or most > positions:
            yield from self.compare(_item(given, positions), _item(wanted, positions), f"{path}[]")


def _item(array: dict[str, Any], index: int) -> Schema:
    items: Any = array.get("items", True)
    if isinstance(items, list):
        items = items[index] if index < len(items) else array.get("additionalItems", True)
    return items if isinstance(items, dict | bool) else True


def _value(schema: dict[str, Any], keyword: str) -> str:
    return json.dumps(schema[keyword]) if keyword in schema else "none"
