"""Schemas as lists of alternatives."""

from typing import Any

import pytest

from django_etp.contract.alternatives import Alternative, alternatives, is_any, text_of

TYPES: dict[str, Any] = {
    "Say": {"type": "object", "title": "Say"},
    "Both": {"anyOf": [{"$ref": "#/components/schemas/Say"}, {"type": "null"}]},
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, [Alternative(True)]),
        (False, []),
        ({"title": "Any"}, [Alternative(True)]),
        ({"type": "string", "title": "A"}, [Alternative({"type": "string"})]),
        ({"type": ["string", "null"]}, [Alternative({"type": "string"}), Alternative({"type": "null"})]),
        ({"enum": [1, "a"]}, [Alternative({"const": 1}), Alternative({"const": "a"})]),
        ({"const": 1, "type": "integer"}, [Alternative({"const": 1})]),
        ({"$ref": "#/components/schemas/Say"}, [Alternative({"type": "object"}, "Say")]),
        (
            {"$ref": "#/components/schemas/Both"},
            [Alternative({"type": "object"}, "Say"), Alternative({"type": "null"}, "Both")],
        ),
        ({"allOf": [{"type": "null"}], "default": None}, [Alternative({"type": "null"})]),
        ({"oneOf": [{"type": "null"}, {"const": 1}]}, [Alternative({"type": "null"}), Alternative({"const": 1})]),
        (
            {"$ref": "#/components/schemas/Say", "minProperties": 1},
            [Alternative({"allOf": [{"$ref": "#/components/schemas/Say"}, {"minProperties": 1}]})],
        ),
    ],
)
def test_alternatives(schema: Any, expected: list[Alternative]) -> None:
    assert alternatives(schema, TYPES) == expected


def test_what_is_any_value() -> None:
    assert is_any(True)
    assert is_any({"description": "Whatever."})
    assert not is_any(False)
    assert not is_any({"type": "string"})


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (True, "any value"),
        (False, "nothing"),
        ({"const": "a"}, 'the value "a"'),
        ({"$ref": "#/components/schemas/Say"}, "Say"),
        ({"type": "array", "items": {"type": "string"}}, "array of string"),
        ({"type": "string", "format": "date"}, "string (date)"),
        ({"not": {}}, "another type"),
    ],
)
def test_texts(schema: Any, text: str) -> None:
    assert text_of(schema) == text


def test_kinds_and_texts_of_alternatives() -> None:
    say, null = alternatives({"$ref": "#/components/schemas/Both"}, TYPES)
    assert (say.kind, say.text) == ("object", "Say")
    assert (null.kind, null.text) == ("null", "null")
    assert say.key != Alternative(say.schema).key
