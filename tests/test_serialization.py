"""What handlers return and callers pass ↔ wire text."""

import datetime
import decimal
import enum
import json
import uuid
from typing import Any

import pytest
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.utils.functional import SimpleLazyObject, lazystr
from django.utils.safestring import mark_safe

from django_etp.exceptions import InvalidEventName, InvalidPayload
from django_etp.serialization import to_frame, to_parts, to_text


class Colour(str, enum.Enum):  # noqa: UP042 (what projects have)
    RED = "red"


class Size(models.TextChoices):
    LARGE = "large"


class Shouting(DjangoJSONEncoder):
    def encode(self, o: Any) -> str:
        return super().encode(o).upper()


class Point:
    pass


class PointEncoder(json.JSONEncoder):
    def default(self, o: object) -> object:
        return "point" if isinstance(o, Point) else super().default(o)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("as it is", "as it is"),
        ('"quoted"', '"quoted"'),
        (0, "0"),
        (False, "false"),
        (1.5, "1.5"),
        ([], "[]"),
        ({}, "{}"),
        ((1, "a", None), '[1,"a",null]'),
        ({"a": {"b": [1, 2]}}, '{"a":{"b":[1,2]}}'),
        ("ü€🎈", "ü€🎈"),
        (["ü€🎈"], '["ü€🎈"]'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (decimal.Decimal("1.10"), '"1.10"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (lazystr("later"), "later"),
        (SimpleLazyObject(lambda: "later"), "later"),
        ([lazystr("later")], '["later"]'),
        (mark_safe("<b>"), "<b>"),
        (Colour.RED, "red"),
        (Size.LARGE, "large"),
        ([Colour.RED], '["red"]'),
    ],
)
def test_the_wire_text_of_a_value(value: object, text: str) -> None:
    assert to_text(value) == text
    assert type(to_text(value)) is str


def recursive() -> list[object]:
    inner: list[object] = []
    inner.append(inner)
    return inner


def deep() -> list[object]:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object(), float("nan"), [float("inf")], {(1, 2): 3}, recursive()])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(InvalidPayload, match="JSON"):
        to_text(value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(InvalidPayload):
        to_text(deep())


@pytest.mark.parametrize("encoder", [PointEncoder, f"{__name__}.PointEncoder"])
def test_the_projects_own_encoder_is_used(settings: Any, encoder: object) -> None:
    settings.ETP = {"JSON_ENCODER": encoder}
    assert to_text([Point()]) == '["point"]'


def test_another_encoder_takes_over_at_once(settings: Any) -> None:
    assert to_text(["a"]) == '["a"]'
    settings.ETP = {"JSON_ENCODER": Shouting}
    assert to_text(["a"]) == '["A"]'


@pytest.mark.parametrize(
    ("name", "data", "ack_id", "frame"),
    [
        ("news", None, 0, "news||0"),
        ("news", "", 0, "news||0"),
        ("news", "text", 0, "news||0||text"),
        ("news", {"id": 7}, 3, 'news||3||{"id":7}'),
        ("news", "a||b", 0, "news||0||a||b"),
        ("", None, 0, "||0"),
        (Colour.RED, Colour.RED, 0, "red||0||red"),
    ],
)
def test_the_frame_of_an_event(name: str, data: object, ack_id: int, frame: str) -> None:
    assert to_frame(name, data, ack_id) == frame


@pytest.mark.parametrize(
    "name", ["__ack_news", "__err_news", "__ping", "__hello", "__", "a||b", "a|", 1, None, b"news"]
)
def test_names_that_an_application_must_not_send(name: str) -> None:
    with pytest.raises(InvalidEventName):
        to_frame(name)


@pytest.mark.parametrize("data", ["\ud800", ["\ud800"], object()])
def test_data_that_no_frame_can_carry(data: object) -> None:
    with pytest.raises(InvalidPayload):
        to_frame("news", data)


class Loud:
    """An event that shouts its payload."""

    name = "loud"

    def text_of(self, data: object) -> str:
        return str(data).upper()


def test_an_event_with_a_type_writes_its_own_payload() -> None:
    assert to_parts(Loud(), "hi") == ("loud", "HI")
    assert to_frame(Loud(), "hi", 3) == "loud||3||HI"
    assert to_parts("said", {"a": 1}) == ("said", '{"a":1}')


@pytest.mark.parametrize("event", [None, 5, object(), b"said"])
def test_what_is_no_event_is_refused(event: Any) -> None:
    with pytest.raises(InvalidEventName, match="must be str"):
        to_parts(event)
