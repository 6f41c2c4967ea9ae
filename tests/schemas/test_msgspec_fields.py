"""JSON schemas of what msgspec reads and writes."""

from typing import Annotated, Any, Generic, TypeVar

import msgspec
import pytest

from tests.support.schemas import is_read, is_valid, json_schema, write

Item = TypeVar("Item")


class Line(msgspec.Struct, rename="camel"):
    line_count: int = 1
    note: Annotated[str, msgspec.Meta(max_length=3)] | msgspec.UnsetType = msgspec.UNSET


class Order(msgspec.Struct, tag="order", forbid_unknown_fields=True):
    lines: list[Line]
    parent: "Order | None" = None


class Brief(msgspec.Struct, tag="brief", omit_defaults=True):
    text: str = ""


class Page(msgspec.Struct, Generic[Item]):
    items: list[Item] = []


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (Line, "{}"),
        (Line, '{"lineCount":2,"note":"abc"}'),
        (Line, '{"lineCount":2,"note":"abcd"}'),
        (Line, '{"lineCount":"2"}'),
        (Order, '{"type":"order","lines":[{}]}'),
        (Order, '{"type":"order","lines":[],"other":1}'),
        (Order, '{"lines":1}'),
        (Order | Brief, '{"type":"brief"}'),
        (Order | Brief, '{"type":"letter"}'),
        (list[Line], "[{}]"),
        (list[Line], "[1]"),
    ],
)
def test_what_fits_the_schema_is_read_and_nothing_else(annotation: Any, data: str) -> None:
    assert is_valid(json_schema(annotation), data) == is_read(annotation, data)


@pytest.mark.parametrize(
    ("annotation", "value", "fields"),
    [
        (Line, Line(), ["lineCount"]),
        (Order, Order([]), ["type", "lines", "parent"]),
        (Brief, Brief(), ["type"]),
        (Page[Line], Page([Line()]), ["items"]),
    ],
)
def test_fields_are_required_if_they_are_always_sent(annotation: Any, value: Any, fields: list[str]) -> None:
    schema = json_schema(annotation, is_sent=True)
    definition = schema["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    assert definition["required"] == fields
    assert is_valid(schema, write(annotation, value))


def test_a_type_without_a_schema_is_an_error() -> None:
    class Odd(msgspec.Struct):
        value: memoryview | complex

    with pytest.raises(TypeError):
        json_schema(Odd)
