"""JSON schemas of what pydantic reads and writes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired

import pytest
from annotated_types import MinLen
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.support.schemas import is_read, is_valid, json_schema


@dataclass
class Say:
    text: Annotated[str, MinLen(2)]
    to: int | None = None
    tags: list[str] = field(default_factory=list)


class Node(BaseModel):
    name: str = Field(alias="Name")
    children: list["Node"] = []


class Options(TypedDict):
    size: int
    color: NotRequired[Literal["red", "blue"]]


@pytest.mark.parametrize(
    ("annotation", "data"),
    [
        (Say, '{"text":"hi"}'),
        (Say, '{"text":"hi","to":null,"tags":["a"]}'),
        (Say, '{"text":"h"}'),
        (Say, '{"to":5}'),
        (Node, '{"Name":"a","children":[{"Name":"b"}]}'),
        (Node, '{"Name":"a","children":[{"name":"b"}]}'),
        (Options, '{"size":1}'),
        (Options, '{"size":1,"color":"green"}'),
        (list[int] | None, "[1,2]"),
        (list[int] | None, "null"),
        (list[int] | None, '["a"]'),
        (dict[str, Say], '{"a":{"text":"hi"}}'),
        (dict[str, Say], '{"a":1}'),
        (tuple[int, str], '[1,"a"]'),
        (tuple[int, str], "[1]"),
    ],
)
def test_what_fits_the_schema_is_read_and_nothing_else(annotation: Any, data: str) -> None:
    assert is_valid(json_schema(annotation), data) == is_read(annotation, data)


def test_fields_with_defaults_may_be_left_out_when_read_and_are_always_sent() -> None:
    assert json_schema(Say)["required"] == ["text"]
    assert json_schema(Say, is_sent=True)["required"] == ["text", "to", "tags"]
    assert json_schema(Options, is_sent=True)["required"] == ["size"]


def test_a_default_that_json_cannot_hold_is_left_out() -> None:
    class Odd(BaseModel):
        value: Any = object()

    assert json_schema(Odd)["properties"]["value"] == {"title": "Value"}


def test_a_type_without_a_schema_is_an_error() -> None:
    class Hook(BaseModel):
        hook: Callable[[], None]

    with pytest.raises(Exception, match="JsonSchema"):
        json_schema(Hook)
