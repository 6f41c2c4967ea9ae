"""Whether all values of one JSON schema fit another one: by examples, and by values that are tried on both."""

import itertools
from typing import Any

import pytest
from jsonschema import Draft7Validator

from django_etp.contract.compatibility import Misfit, misfits

STRING = {"type": "string"}
INTEGER = {"type": "integer"}
NUMBER = {"type": "number"}
NULL = {"type": "null"}


def fields(required: str = "", *, closed: bool = False, **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required.split()}
    return {**schema, "additionalProperties": False} if closed else schema


def find(
    given: Any, wanted: Any, *, is_strict: bool = True, types: Any = None, wanted_types: Any = None
) -> list[Misfit]:
    return misfits(given, types or {}, wanted, wanted_types or types or {}, is_strict=is_strict)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (STRING, True),
        (STRING, {"title": "Text", "description": "Any value."}),
        (INTEGER, NUMBER),
        (INTEGER, {"anyOf": [INTEGER, NULL]}),
        ({"type": ["integer", "null"]}, {"anyOf": [INTEGER, NULL, STRING]}),
        ({"enum": ["a", "b"]}, STRING),
        ({"enum": ["a", "b"]}, {"enum": ["c", "b", "a"]}),
        ({"const": "a"}, {"type": "string", "maxLength": 3, "pattern": "^a"}),
        ({"const": 5}, {"type": "number", "minimum": 1, "exclusiveMaximum": 6}),
        ({"type": "string", "maxLength": 3, "minLength": 2}, {"type": "string", "maxLength": 4, "minLength": 0}),
        ({"type": "integer", "minimum": 2}, {"type": "integer", "minimum": 1}),
        ({"type": "string", "format": "date"}, STRING),
        (fields("a", a=INTEGER), fields(a=INTEGER)),
        (fields("a", a=INTEGER, b=STRING), fields("a", a=INTEGER)),
        (fields("a", a=INTEGER), fields("a", a=INTEGER, b=STRING)),
        (fields("a", a=INTEGER), {"type": "object", "additionalProperties": INTEGER}),
        ({"type": "array", "items": INTEGER}, {"type": "array", "items": NUMBER}),
        ({"type": "array", "items": [INTEGER, STRING], "minItems": 2, "maxItems": 2}, {"type": "array"}),
        (
            {"type": "array", "items": [INTEGER, INTEGER], "minItems": 2, "maxItems": 2},
            {"type": "array", "items": INTEGER, "maxItems": 2},
        ),
        ({"allOf": [STRING], "default": "a"}, STRING),
        ({"allOf": [STRING, {"maxLength": 3}]}, STRING),
        ({"type": "string", "maxLength": 3}, {"allOf": [STRING, {"type": "string", "maxLength": 4}]}),
        ({"type": "array", "items": INTEGER, "uniqueItems": True}, {"type": "array", "items": INTEGER}),
        (False, STRING),
    ],
)
def test_these_fit(given: Any, wanted: Any) -> None:
    assert find(given, wanted) == []


@pytest.mark.parametrize(
    ("given", "wanted", "misfit"),
    [
        (True, STRING, Misfit("", "type", "any value", "string")),
        (STRING, False, Misfit("", "type", "string", "")),
        (NUMBER, INTEGER, Misfit("", "type", "number", "integer")),
        ({"anyOf": [INTEGER, NULL]}, INTEGER, Misfit("", "type", "null", "integer")),
        (STRING, {"enum": ["a", "b"]}, Misfit("", "type", "string", 'the value "a" or the value "b"')),
        (
            {"enum": ["a", "c"]},
            {"enum": ["a", "b"]},
            Misfit("", "type", 'the value "c"', 'the value "a" or the value "b"'),
        ),
        ({"const": True}, {"const": 1}, Misfit("", "type", "the value true", "the value 1")),
        ({"const": True}, INTEGER, Misfit("", "type", "the value true", "integer")),
        ({"const": "abcd"}, {"type": "string", "maxLength": 3}, Misfit("", "type", 'the value "abcd"', "string")),
        (STRING, {"type": "string", "maxLength": 3}, Misfit("", "maxLength", "none", "3")),
        ({"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 1}, Misfit("", "minimum", "0", "1")),
        (STRING, {"type": "string", "format": "date"}, Misfit("", "format", "none", '"date"')),
        (STRING, {"type": "string", "pattern": "a"}, Misfit("", "pattern", "none", '"a"')),
        (fields(a=INTEGER), fields("a", a=INTEGER), Misfit("a", "missing")),
        (fields(), fields("a", a=INTEGER), Misfit("a", "missing")),
        (
            fields("a", a=fields("b", b=STRING)),
            fields("a", a=fields(b=INTEGER)),
            Misfit("a.b", "type", "string", "integer"),
        ),
        (fields(a=INTEGER, b=INTEGER), fields(closed=True, a=INTEGER), Misfit("b", "unwanted")),
        (
            {"type": "object", "additionalProperties": INTEGER},
            {"type": "object", "additionalProperties": STRING},
            Misfit("{}", "type", "integer", "string"),
        ),
        (
            {"type": "object", "additionalProperties": INTEGER},
            fields(a=STRING),
            Misfit("a", "type", "integer", "string"),
        ),
        ({"type": "object", "additionalProperties": True}, fields(closed=True), Misfit("{}", "unwanted")),
        (
            {"type": "object", "additionalProperties": INTEGER},
            {"type": "object", "additionalProperties": INTEGER, "propertyNames": {"format": "uuid"}},
            Misfit("{}", "format", "none", '"uuid"'),
        ),
        (
            {"type": "object", "patternProperties": {"^a": INTEGER}},
            {"type": "object", "patternProperties": {"^a": STRING}},
            Misfit("{}", "type", "integer", "string"),
        ),
        (
            {"type": "array", "items": STRING},
            {"type": "array", "items": INTEGER},
            Misfit("[]", "type", "string", "integer"),
        ),
        (
            {"type": "array", "items": [INTEGER, STRING], "minItems": 2, "maxItems": 2},
            {"type": "array", "items": [INTEGER, INTEGER], "minItems": 2, "maxItems": 2},
            Misfit("[1]", "type", "string", "integer"),
        ),
        ({"type": "array"}, {"type": "array", "minItems": 1}, Misfit("", "minItems", "none", "1")),
        ({"allOf": [STRING, {"maxLength": 3}]}, INTEGER, Misfit("", "type", "another type", "integer")),
    ],
)
def test_these_do_not_fit(given: Any, wanted: Any, misfit: Misfit) -> None:
    assert find(given, wanted) == [misfit]


def test_who_gets_a_value_ignores_fields_that_are_not_listed() -> None:
    new, old = fields("a", a=INTEGER, b=STRING), fields("a", closed=True, a=INTEGER)
    assert find(new, old, is_strict=False) == []
    assert find(new, old, is_strict=True) == [Misfit("b", "unwanted")]


def reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def tree(name: str, value: Any) -> dict[str, Any]:
    children = {"type": "array", "items": reference(name)}
    return {name: fields("value", value=value, children=children)}


def test_names_do_not_matter_and_types_may_hold_themselves() -> None:
    old, new = tree("Node", INTEGER), tree("Branch", NUMBER)
    assert find(reference("Node"), reference("Branch"), types=old, wanted_types=new) == []
    assert find(reference("Branch"), reference("Node"), types=new, wanted_types=old) == [
        Misfit("value", "type", "number", "integer"),
        Misfit("children[]", "type", "Branch", "Node as it was"),
    ]


def test_an_alternative_does_not_rely_on_a_type_that_is_found_not_to_fit_later() -> None:
    """Node is met inside the union first, while it is not known yet that its last field does not fit."""
    union = {"anyOf": [reference("Node"), NULL]}
    given = {"Node": fields("last", next=union, last=STRING)}
    wanted = {"Node": fields("last", next=union, last=INTEGER)}
    found = find(reference("Node"), reference("Node"), types=given, wanted_types=wanted)
    assert Misfit("last", "type", "string", "integer") in found
    assert [misfit.path for misfit in found] == ["next", "last"]


def test_types_that_all_refer_to_each_other_are_compared_in_no_time() -> None:
    names = [f"T{number}" for number in range(30)]
    types = {name: fields("".join(names[:1]), **{other: reference(other) for other in names}) for name in names}
    changed = {**types, "T29": fields(x=INTEGER, **types["T29"]["properties"])}
    assert find(reference("T0"), reference("T0"), types=types) == []
    assert find(reference("T0"), reference("T0"), types=types, wanted_types={**changed, "T7": STRING}) != []


def test_a_type_that_is_nothing_but_itself_has_no_values() -> None:
    types = {"Loop": {"anyOf": [reference("Loop"), INTEGER]}}
    assert find(reference("Loop"), INTEGER, types=types) == []
    assert find(reference("Loop"), STRING, types=types) == [Misfit("", "type", "integer", "string")]


SCHEMAS = [
    True,
    STRING,
    INTEGER,
    NUMBER,
    NULL,
    {"type": "boolean"},
    {"enum": ["a", 1]},
    {"const": 1},
    {"type": ["string", "null"]},
    {"type": "string", "maxLength": 1},
    {"type": "integer", "minimum": 1},
    {"anyOf": [INTEGER, {"type": "array", "items": INTEGER}]},
    {"type": "array", "items": NUMBER, "minItems": 1},
    {"type": "array", "items": [INTEGER, STRING], "minItems": 2, "maxItems": 2},
    fields("a", a=INTEGER),
    fields("a", closed=True, a=INTEGER),
    fields(a={"type": ["integer", "null"]}, b=STRING),
    fields("a b", a=NUMBER, b={"enum": ["a"]}),
    {"type": "object", "additionalProperties": INTEGER},
    {"allOf": [{"type": "integer"}, {"minimum": 1}]},
]
VALUES = [None, True, 0, 1, 2, 1.5, "", "a", "ab", [], [1], [1, "a"], [1.5], ["a"], {}, {"a": 1}, {"a": None}]
VALUES += [{"a": 1.5, "b": "a"}, {"a": 1, "b": "a"}, {"a": 1, "b": "b"}, {"b": "a"}, {"a": "x"}, {"a": 1, "c": 1}]


@pytest.mark.parametrize("given", SCHEMAS, ids=str)
def test_what_is_said_to_fit_fits(given: Any) -> None:
    """For values with the fields alone that the given schema lists."""
    listed = given.get("properties", {}) if isinstance(given, dict) else {}
    is_open = not isinstance(given, dict) or "additionalProperties" in given or "properties" not in given
    values = [
        value
        for value in VALUES
        if Draft7Validator(given).is_valid(value)
        and (is_open or not isinstance(value, dict) or value.keys() <= listed.keys())
    ]
    said = {}
    for wanted in SCHEMAS:
        said[str(wanted)] = not find(given, wanted)
        if said[str(wanted)]:
            assert all(Draft7Validator(wanted).is_valid(value) for value in values), wanted
    assert said[str(given)]
    assert said["True"]


def test_fitting_can_be_passed_on() -> None:
    fits = {(i, j) for (i, a), (j, b) in itertools.product(enumerate(SCHEMAS), repeat=2) if not find(a, b)}
    assert len(SCHEMAS) < len(fits) < len(SCHEMAS) ** 2 / 2
