"""Types that hold a msgspec.Struct."""

from typing import Any

import msgspec
import pytest

from django_etp.schemas import schema
from tests.support.schemas import errors_of, read, refusal_of, write


class Say(msgspec.Struct):
    text: str
    to: int | None = None


class Order(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    order_lines: list[Say]
    prices: dict[str, list[int]] = {}


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Say, '{"text":"hi","to":5}', Say("hi", 5)),
        (Say | None, '{"text":"hi","to":5}', Say("hi", 5)),
        (list[Say], '[{"text":"hi","to":null}]', [Say("hi")]),
        (dict[str, Say], '{"a":{"text":"hi","to":null}}', {"a": Say("hi")}),
        (Order, '{"orderLines":[{"text":"hi","to":null}],"prices":{}}', Order([Say("hi")])),
    ],
)
def test_values_there_and_back(annotation: Any, text: str, value: Any) -> None:
    assert read(annotation, text) == value
    assert write(annotation, value) == text


@pytest.mark.parametrize(
    ("annotation", "data", "errors"),
    [
        (Say, '{"text":5}', [(["text"], "invalid")]),
        (Say, "{}", [(["text"], "missing")]),
        (Say, "[]", [([], "invalid")]),
        (Say, "", [([], "invalid")]),
        (Say, "not JSON", [([], "json_invalid")]),
        (Order, '{"orderLines":[{"text":"a"},{}]}', [(["orderLines", 1, "text"], "missing")]),
        (Order, '{"orderLines":[],"more":1}', [(["more"], "unknown")]),
        (Order, '{"orderLines":[],"prices":{"a":[1,"x"]}}', [(["prices", "...", 1], "invalid")]),
        (dict[int, Say], '{"a":{"text":"hi"}}', [([], "invalid")]),
    ],
)
def test_what_does_not_fit_is_said_with_its_place(annotation: Any, data: str, errors: list[Any]) -> None:
    assert errors_of(annotation, data) == errors


def test_messages_do_not_repeat_the_place() -> None:
    with pytest.raises(schema.InvalidPayload, match=r"does not fit: text: Expected `str`, got `int`$"):
        read(Say, '{"text":5}')


def test_no_data_is_none_if_the_type_allows_it() -> None:
    assert read(Say | None) is None
    assert write(Say | None, None) == ""


@pytest.mark.parametrize("value", [Say(5), None, {"text": 5}])  # type: ignore[arg-type]
def test_a_value_that_does_not_fit_is_refused_in_tests(value: Any) -> None:
    assert "cannot be sent as Say" in str(refusal_of(Say, value))


def test_in_production_values_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "is_under_test", False)
    assert write(Say, Say(5)) == '{"text":5,"to":null}'  # type: ignore[arg-type]
    refusal_of(Say, object())
    refusal_of(Say, Say("\ud800"))
