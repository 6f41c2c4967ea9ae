"""The content of a client's events, as text and from text."""

import enum
from typing import Any

import pytest

from django_etp.client.content import expires_in, greeted_id, object_in, text_of
from django_etp.exceptions import InvalidPayload
from django_etp.protocol import Event


class Kind(str, enum.Enum):  # noqa: UP042 (its format is not its value)
    NEWS = "news"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), ("", ""), ("ü||", "ü||"), (Kind.NEWS, "news"), ({"ü": [1, None]}, '{"ü":[1,null]}'), (0, "0")],
)
def test_a_value_is_sent_as_text(value: object, text: str) -> None:
    assert text_of(value) == text


@pytest.mark.parametrize("value", [object(), float("nan"), {1: {2, 3}}])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidPayload, match="Convert it first") as refusal:
        text_of(value)
    assert refusal.value.is_outgoing


@pytest.mark.parametrize(("data", "content"), [('{"a": 1}', {"a": 1}), ("", {}), ("[1]", {}), ("{", {}), ("null", {})])
def test_what_holds_no_object_holds_an_empty_one(data: str, content: dict[str, Any]) -> None:
    assert object_in(Event("e", 0, data)) == content


@pytest.mark.parametrize(
    ("data", "id", "seconds"),
    [
        ('{"id": "abc", "expires_in": 1.5}', "abc", 1.5),
        ('{"id": 5, "expires_in": "soon"}', None, None),
        ("hello", None, None),
    ],
)
def test_the_facts_of_a_greeting(data: str, id: str | None, seconds: float | None) -> None:
    greeting = Event("__hello", 0, data)
    assert (greeted_id(greeting), expires_in(greeting)) == (id, seconds)
