"""The tree of errors."""

import pickle

import pytest

import django_etp
from django_etp import exceptions
from django_etp.exceptions import EtpError

PARENTS = {
    "ProtocolError": "EtpError",
    "InvalidFrame": "ProtocolError",
    "MessageTooLarge": "ProtocolError",
    "InvalidEventName": "ProtocolError",
    "InvalidCloseCode": "ProtocolError",
    "TooManyEvents": "ProtocolError",
    "InvalidPayload": "EtpError",
    "DataTooLarge": "EtpError",
    "InvalidRoomName": "EtpError",
    "TooManyRooms": "EtpError",
    "NoRoomMatch": "EtpError",
    "EventFailed": "EtpError",
    "AckTimeout": "EtpError",
    "ConnectionClosed": "EtpError",
    "RejectConnection": "EtpError",
    "EventAlreadyRegistered": "EtpError",
    "LayerUnavailable": "EtpError",
    "MessagesLost": "EtpError",
    "IncompleteAnswer": "EtpError",
    "SyncCallInEventLoop": "EtpError",
}


@pytest.mark.parametrize("name", PARENTS)
def test_each_error_has_its_place_in_the_tree(name: str) -> None:
    assert getattr(exceptions, name).__bases__[0].__name__ == PARENTS[name]


def test_the_tree_is_whole() -> None:
    assert {"EtpError", *PARENTS} == set(exceptions.__all__)


@pytest.mark.parametrize("name", PARENTS)
def test_each_error_is_public(name: str) -> None:
    assert getattr(django_etp, name) is getattr(exceptions, name)


@pytest.mark.parametrize("name", PARENTS)
def test_the_module_explains_each_error_in_its_tree(name: str) -> None:
    assert f"── {name} " in str(exceptions.__doc__)


def test_an_ack_timeout_is_a_timeout_error() -> None:
    assert issubclass(exceptions.AckTimeout, TimeoutError)


def test_a_sync_call_in_an_event_loop_is_a_runtime_error() -> None:
    assert issubclass(exceptions.SyncCallInEventLoop, RuntimeError)


@pytest.mark.parametrize("reason", ["", "no seat"])
def test_a_rejection_has_its_reason(reason: str) -> None:
    assert exceptions.RejectConnection(reason).reason == reason
    assert exceptions.RejectConnection().reason == ""


def test_lost_messages_are_counted() -> None:
    error = exceptions.MessagesLost("gone", group="etp.room.1", messages=2, frames=30)
    assert (str(error), error.group, error.messages, error.frames) == ("gone", "etp.room.1", 2, 30)


def test_an_incomplete_answer_holds_what_came() -> None:
    error = exceptions.IncompleteAnswer("two of three", answer=[1, 2])
    assert (str(error), error.answer) == ("two of three", [1, 2])


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        ("busy", "", "busy"),
        ("busy", "später, l'été", "busy: später, l'été"),
        ("busy\nCRITICAL", "", "busy\\nCRITICAL"),
        ("busy", "a\r\nb\x1b[2J\u2028c", "busy: a\\r\\nb\\x1b[2J\\u2028c"),
        ("busy", "x" * 300, "busy: " + "x" * 194 + "…"),
    ],
)
def test_a_failure_is_one_line_of_text(code: str, message: str, text: str) -> None:
    assert str(exceptions.EventFailed(code, message)) == text
    assert repr(exceptions.EventFailed(code, message)) == f"EventFailed({text!r})"


def test_a_failure_is_the_applications_own_unless_a_peer_said_so() -> None:
    assert not exceptions.EventFailed("busy").is_from_peer


@pytest.mark.parametrize("details", [object(), {"a": {1, 2}}, {(1, 2): 3}, float("nan")])
def test_details_that_json_cannot_hold_are_refused_where_they_are_written(details: object) -> None:
    with pytest.raises(TypeError, match="The details of an EventFailed must be what JSON can hold, got"):
        exceptions.EventFailed("busy", details=details)


@pytest.mark.parametrize(
    "error",
    [
        EtpError("why"),
        exceptions.AckTimeout("why"),
        exceptions.RejectConnection("why"),
        exceptions.MessagesLost("why", group="g", messages=1, frames=2, room="lobby", namespace="game"),
        exceptions.IncompleteAnswer("why", answer=[1]),
        exceptions.InvalidFrame("why", frame="hello"),
        exceptions.EventFailed("busy", "later", is_from_peer=True),
        exceptions.EventFailed("busy", details={"left": 5}, errors=[{"path": ["to"]}], retry_after=1.5),
        exceptions.InvalidPayload("why", errors=[{"path": ["to"]}]),
        exceptions.InvalidPayload("why", is_outgoing=True),
        exceptions.InvalidPayload("why", is_answer=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_can_cross_to_another_process(error: EtpError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), copy.args, vars(copy)) == (type(error), error.args, vars(error))
