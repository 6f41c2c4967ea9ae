"""Raw text and no data, which need no library."""

import enum

import pytest
from django.utils.translation import gettext_lazy

from django_etp.schemas import schema
from tests.support.schemas import errors_of, read, refusal_of, write


class Color(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize("text", ["", "hello", '"quoted"', "null", "{"])
def test_a_bare_str_is_the_text_as_it_is(text: str) -> None:
    assert read(str, text) == text
    assert write(str, text) == text


def test_text_of_other_classes_is_sent_as_text() -> None:
    assert write(str, Color.RED) == "red"
    assert write(str, gettext_lazy("Monday")) == "Monday"


@pytest.mark.parametrize("value", [None, 5, ["text"]])
def test_what_is_no_text_is_refused_in_tests(value: object) -> None:
    assert "cannot be sent as str" in str(refusal_of(str, value))


def test_what_is_no_text_goes_as_without_a_type_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "is_under_test", False)
    assert write(str, ["text"]) == '["text"]'
    assert write(str, None) == ""
    assert write(None, ["text"]) == '["text"]'


def test_none_is_no_data() -> None:
    assert read(None) is None
    assert write(None, None) == ""
    assert errors_of(None, "5") == [([], "unexpected_data")]
    assert "cannot be sent as None" in str(refusal_of(None, 5))
