"""What all adapters share: when values are checked, and what an InvalidPayload says."""

from typing import Any

import pytest

from django_etp import Event
from django_etp.schemas import schema


@pytest.mark.parametrize(
    ("debug", "tests", "checking"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_values_are_checked_in_debug_and_under_the_testing_kit(
    settings: Any, monkeypatch: pytest.MonkeyPatch, debug: bool, tests: bool, checking: bool
) -> None:
    settings.DEBUG = debug
    monkeypatch.setattr(schema, "is_under_test", tests)
    assert schema.is_checking() is checking


def test_the_testing_kit_lets_values_be_checked() -> None:
    assert schema.is_under_test  # tests/support imports it


def test_an_error_holds_what_json_can_hold_and_is_short() -> None:
    error = schema.error_at(("a" * 200, 3, None), "m" * 1000, 7)
    assert error == {"path": ["a" * 100, 3, "None"], "message": "m" * 500, "code": "7"}


def test_the_text_names_three_errors_with_their_places_and_is_one_line() -> None:
    errors = [schema.error_at(("lines", index), "Too\nlong", "x") for index in range(5)]
    error = schema.misfit(Event("say"), errors)
    assert str(error) == (
        "The data of event 'say' does not fit: lines.0: Too\\nlong; lines.1: Too\\nlong; lines.2: Too\\nlong; "
        "and 2 more"
    )
    assert error.errors == errors
    assert not error.is_outgoing


def test_what_cannot_be_sent_is_the_fault_of_the_sender() -> None:
    error = schema.unsendable(5, "str", "text is expected.")
    assert str(error) == "A int cannot be sent as str: text is expected."
    assert error.is_outgoing
    assert error.errors == []


@pytest.mark.parametrize(("annotation", "name"), [(int, "int"), (list[int], "list[int]"), (int | None, "int | None")])
def test_names_of_types(annotation: Any, name: str) -> None:
    assert schema.name_of(annotation) == name


def test_json_of_an_event() -> None:
    assert schema.json_of(Event("say", 0, "[1]")) == [1]
    assert schema.json_of(Event("say")) is None
    with pytest.raises(schema.InvalidPayload) as caught:
        schema.json_of(Event("say", 0, "{"))
    assert caught.value.errors == [{"path": [], "message": "This is not JSON.", "code": "json_invalid"}]
