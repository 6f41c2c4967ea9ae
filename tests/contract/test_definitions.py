"""Schemas of the libraries become schemas of AsyncAPI."""

from typing import Any

from django_etp.contract.definitions import Definitions, map_schemas, references_in

SAY = {"title": "Say", "type": "object", "properties": {"text": {"type": "string"}}}


def local(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def shared(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_named_types_move_to_the_components() -> None:
    types = Definitions()
    node = {"type": "object", "properties": {"next": local("Node"), "say": local("Say")}}
    assert types.add(
        {"anyOf": [local("Node"), {"type": "null"}], "$defs": {"Node": node, "Say": SAY}}, is_sent=False
    ) == {"anyOf": [shared("Node"), {"type": "null"}]}
    assert types.schemas == {
        "Node": {"type": "object", "properties": {"next": shared("Node"), "say": shared("Say")}},
        "Say": SAY,
    }


def test_an_object_at_the_top_is_a_named_type_too() -> None:
    types = Definitions()
    assert types.add(SAY, is_sent=False) == shared("Say")
    assert types.add({"type": "array", "items": local("Say"), "$defs": {"Say": SAY}}, is_sent=True) == {
        "type": "array",
        "items": shared("Say"),
    }
    assert types.schemas == {"Say": SAY}


def test_two_forms_of_a_name_are_told_apart() -> None:
    types = Definitions()
    forms = [{**SAY, "required": ["text"][:number], "minProperties": number} for number in range(4)]
    added = [types.add(form, is_sent=is_sent) for form, is_sent in zip(forms, [0, 1, 0, 1], strict=True)]
    assert added == [shared("Say"), shared("SayOut"), shared("SayIn"), shared("Say2")]
    assert [types.add(form, is_sent=True) for form in forms] == added


def test_a_name_differs_too_if_what_it_refers_to_does() -> None:
    types = Definitions()
    node = {"type": "object", "properties": {"say": local("Say")}}
    for number in range(2):
        types.add({**local("Node"), "$defs": {"Node": node, "Say": {**SAY, "minProperties": number}}}, is_sent=False)
    assert types.schemas["NodeIn"] == {"type": "object", "properties": {"say": shared("SayIn")}}


def test_names_fit_into_references() -> None:
    types = Definitions()
    types.add({**SAY, "title": "Page[int, str]"}, is_sent=False)
    types.add({**SAY, "title": "§"}, is_sent=False)
    assert list(types.schemas) == ["Page_int_str", "Type"]


def test_the_dialect_is_draft_7() -> None:
    types = Definitions()
    pair = {"type": "array", "prefixItems": [local("Say"), {"type": "null"}], "items": False}
    union = {"oneOf": [pair], "discriminator": {"propertyName": "kind", "mapping": {"a": "#/$defs/Say"}}}
    default = {**local("Say"), "default": {"prefixItems": 1}, "description": "What is said."}
    properties = {"union": union, "say": default, "discriminator": {"type": "string"}}
    types.add({"title": "All", "type": "object", "properties": properties, "$defs": {"Say": SAY}}, is_sent=False)
    assert types.schemas["All"] == {
        "title": "All",
        "type": "object",
        "properties": {
            "union": {
                "oneOf": [{"type": "array", "items": [shared("Say"), {"type": "null"}], "additionalItems": False}]
            },
            "say": {"allOf": [shared("Say")], "default": {"prefixItems": 1}, "description": "What is said."},
            "discriminator": {"type": "string"},
        },
    }


def test_a_schema_without_rules_is_any_value() -> None:
    assert Definitions().add({}, is_sent=False) is True


def test_values_in_a_schema_are_no_schemas() -> None:
    seen: list[Any] = []
    schema = {
        "const": {"$ref": "a"},
        "default": {"properties": {"$ref": "b"}},
        "properties": {"$ref": {"type": "string"}, "items": {"$ref": "c"}},
        "items": [{"$ref": "d"}],
        "additionalProperties": {"not": {"$ref": "e"}},
        "required": ["$ref"],
    }
    map_schemas(schema, seen.append)
    assert seen == [{"type": "string"}, {"$ref": "c"}, {"$ref": "d"}, {"not": {"$ref": "e"}}]
    assert list(references_in(schema)) == ["c", "d", "e"]
