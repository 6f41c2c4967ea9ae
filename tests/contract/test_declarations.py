"""JSON schemas as types of TypeScript."""

from typing import Any

import pytest

from django_etp.contract.declarations import Declarations, key_of
from django_etp.contract.model import Payload

SAY = {"$ref": "#/components/schemas/Say"}


def types(**schemas: Any) -> Declarations:
    return Declarations({"Say": {"type": "object"}, **schemas}, reserved={"Contract"})


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (True, "any"),
        (False, "never"),
        ({}, "any"),
        ({"type": "integer"}, "number"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"const": "a"}, '"a"'),
        ({"const": {"a": [1, None]}}, "{ a: [1, null]; }"),
        ({"enum": ["a", 1, True, None]}, '"a" | 1 | true | null'),
        ({"enum": []}, "never"),
        (SAY, "Say"),
        ({"anyOf": [SAY, {"type": "null"}, SAY]}, "Say | null"),
        ({"anyOf": [SAY, {}]}, "any"),
        ({"allOf": [SAY, {"anyOf": [SAY, {"type": "null"}]}]}, "Say & (Say | null)"),
        ({"type": "array", "items": SAY}, "Say[]"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "(string | null)[]"),
        ({"type": "array"}, "any[]"),
        ({"type": "array", "items": [SAY, {"type": "null"}], "minItems": 2, "maxItems": 2}, "[Say, null]"),
        ({"type": "array", "items": [SAY], "additionalItems": False}, "[Say?]"),
        ({"type": "array", "items": [SAY], "minItems": 1, "additionalItems": {"const": 1}}, "[Say, ...1[]]"),
        ({"type": "object"}, "{\n  [name: string]: any;\n}"),
        ({"type": "object", "additionalProperties": False}, "{}"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "{\n  [name: string]: number;\n}"),
        (
            {"type": "object", "properties": {"a": {"type": "null"}, "b c": SAY}, "required": ["b c"]},
            '{\n  a?: null;\n  "b c": Say;\n}',
        ),
        (
            {"type": "object", "properties": {"a": {"type": "null"}}, "additionalProperties": {"type": "integer"}},
            "{\n  a?: null;\n  [name: string]: any;\n}",
        ),
        ({"type": "object", "properties": {"a": {"description": "A */."}}}, "{\n  /** A *\\/. */\n  a?: any;\n}"),
        ({"not": {}}, "any"),
    ],
)
def test_types(schema: Any, expected: str) -> None:
    assert types().of(schema) == expected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "null"}, 'null | ""'),
        ({"type": "integer"}, "number"),
        ({"$ref": "#/components/schemas/Maybe"}, 'Maybe | ""'),
        (True, "any"),
    ],
)
def test_no_data_arrives_as_an_empty_text_with_the_codec_auto(schema: Any, expected: str) -> None:
    assert types(Maybe={"type": ["integer", "null"]}).received(Payload(schema), "") == expected


def test_declarations_have_comments_and_names_of_their_own() -> None:
    schemas = {
        "Contract": {"type": "object", "properties": {}, "description": "All\nof it."},
        "say it": {"anyOf": [{"const": 1}, {"const": 2}]},
        "Say_it": {"type": "null"},
    }
    assert list(Declarations(schemas, reserved={"Contract"}).all()) == [
        "/** All of it. */\nexport interface Contract2 {\n  [name: string]: any;\n}\n",
        "export type Say_it = 1 | 2;\n",
        "export type Say_it2 = null;\n",
    ]


def test_keys() -> None:
    assert [key_of(name) for name in ("a", "$a_1", "1a", "", "ü", 'a"')] == [
        "a",
        "$a_1",
        '"1a"',
        '""',
        '"\\u00fc"',
        '"a\\""',
    ]
