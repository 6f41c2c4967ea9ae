"""Limits that hold, and values that keep them."""

from typing import Any

import pytest

from django_etp.contract.limits import holds, is_same, value_fits


@pytest.mark.parametrize(
    ("keyword", "given", "wanted", "expected"),
    [
        ("minimum", 2, 1, True),
        ("minimum", 0, 0, True),
        ("minimum", None, 0, False),
        ("minLength", None, 0, True),
        ("minItems", None, 1, False),
        ("maxLength", 3, 3, True),
        ("maxLength", 4, 3, False),
        ("maximum", None, 3, False),
        ("format", "date", "date", True),
        ("format", "date", "time", False),
        ("uniqueItems", None, False, True),
        ("uniqueItems", None, True, False),
        ("not", {"a": 1}, {"a": 1}, True),
        ("multipleOf", 4, 2, True),
        ("multipleOf", 3, 2, False),
        ("multipleOf", None, 2, False),
    ],
)
def test_limits(keyword: str, given: Any, wanted: Any, expected: bool) -> None:
    schema = {} if given is None else {keyword: given}
    assert holds(schema, keyword, wanted) is expected


@pytest.mark.parametrize(
    ("given", "wanted", "expected"),
    [
        ({"exclusiveMinimum": 1}, {"minimum": 1}, True),
        ({"exclusiveMinimum": 0}, {"minimum": 1}, False),
        ({"minimum": 1}, {"exclusiveMinimum": 1}, False),
        ({"minimum": 2}, {"exclusiveMinimum": 1}, True),
        ({"exclusiveMaximum": 1}, {"maximum": 1}, True),
        ({"exclusiveMaximum": 2}, {"maximum": 1}, False),
        ({"maximum": 1}, {"exclusiveMaximum": 1}, False),
        ({"maximum": 1}, {"exclusiveMaximum": 2}, True),
        ({"exclusiveMinimum": 0, "minimum": 0}, {"exclusiveMinimum": 0}, True),
        ({"exclusiveMinimum": 0, "type": "integer"}, {"minimum": 1}, True),
        ({"exclusiveMinimum": 0.5, "type": "integer"}, {"minimum": 1.5}, False),
        ({"maximum": 9, "type": "integer"}, {"exclusiveMaximum": 10}, True),
        ({"maximum": 9, "type": "integer"}, {"exclusiveMaximum": 9}, False),
    ],
    ids=str,
)
def test_inclusive_and_exclusive_limits_are_compared(
    given: dict[str, Any], wanted: dict[str, Any], expected: bool
) -> None:
    [(keyword, limit)] = wanted.items()
    assert holds(given, keyword, limit) is expected


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        (1, {"type": "integer"}, True),
        (1, {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, True),
        (1, {"type": "number", "exclusiveMinimum": 1}, False),
        (True, {"type": "integer"}, False),
        (True, {"type": "boolean", "title": "Flag"}, True),
        (None, {"type": "null"}, True),
        ("abc", {"type": "string", "minLength": 3, "maxLength": 3}, True),
        ("abc", {"type": "string", "minLength": 4}, False),
        ("abc", {"type": "string", "pattern": "^b"}, False),
        ("abc", {"minimum": 1}, False),
        ("2026-01-01", {"type": "string", "format": "date"}, False),
        (1, {"const": 1}, True),
        (1, {"const": True}, False),
        (1, {"type": "unknown"}, False),
    ],
)
def test_values(value: Any, schema: dict[str, Any], expected: bool) -> None:
    assert value_fits(value, schema) is expected


def test_json_tells_numbers_from_booleans() -> None:
    assert not is_same(True, 1)
    assert is_same({"a": 1, "b": 2}, {"b": 2, "a": 1})
