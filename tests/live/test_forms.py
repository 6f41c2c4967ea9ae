"""What the forms of the page take, and what they refuse."""

import pytest

from django_etp.live.forms import DisconnectForm, LeaveForm, MessageForm, UserMessageForm


@pytest.mark.parametrize(
    ("payload", "text"),
    [("", None), ("  \r\n", None), (' {"id": 7}\r\n', '{"id": 7}'), ('"hello"', '"hello"'), ("null", "null")],
)
def test_data_is_json_and_goes_out_as_it_is(payload: str, text: str | None) -> None:
    form = MessageForm({"event": "news", "payload": payload})
    assert form.is_valid()
    assert form.cleaned_data == {"event": "news", "payload": text}


@pytest.mark.parametrize("payload", ["{", "hello", "NaN", '{"a": Infinity}', "[" * 100_000])
def test_other_data_is_refused_in_words(payload: str) -> None:
    form = MessageForm({"event": "news", "payload": payload})
    assert "This is not JSON" in form.errors["payload"][0]


@pytest.mark.parametrize("event", ["__ping", "a||b", ""])
def test_a_name_that_no_event_can_have_is_refused(event: str) -> None:
    assert "event" in MessageForm({"event": event}).errors


def test_a_message_may_be_for_the_user() -> None:
    assert UserMessageForm({"event": "news", "to": "user"}).is_valid()
    assert not UserMessageForm({"event": "news", "to": "everybody"}).is_valid()


def test_a_close_has_one_of_two_codes_and_a_reason_that_fits() -> None:
    assert DisconnectForm({"code": "1012", "reason": "é" * 61}).is_valid()
    assert "at most 123 bytes" in DisconnectForm({"code": "1000", "reason": "é" * 62}).errors["reason"][0]
    assert "code" in DisconnectForm({"code": "1006", "reason": ""}).errors


def test_a_room_may_begin_with_a_space() -> None:
    form = LeaveForm({"connection": "a.b", "room": " lobby "})
    assert form.is_valid()
    assert form.cleaned_data["room"] == " lobby "
