"""Which errors have a code of the extensions, and whose fault they are."""

from typing import Any

import pytest

from django_etp.exceptions import ConnectionClosed, EventFailed, InvalidPayload, TooManyEvents, TooManyRooms
from django_etp.protocol.failures import encode_failure, handler_failed, named_failure, read_failure
from django_etp.protocol.frames import Event, decode


def test_a_failure_that_a_handler_means_is_told_as_it_is() -> None:
    failure = EventFailed("of_its_own", "Because")
    assert named_failure(failure) is failure


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidPayload("no JSON"), "invalid_payload"),
        (TooManyEvents("x"), "too_many_events"),
        (TooManyRooms("x"), "too_many_rooms"),
    ],
)
def test_what_the_peer_did_has_a_code(error: Exception, code: str) -> None:
    failure = named_failure(error)
    assert failure is not None
    assert failure.code == code
    assert not failure.is_from_peer


@pytest.mark.parametrize(
    "error",
    [
        InvalidPayload("not to be sent", is_outgoing=True),
        InvalidPayload("answered", is_answer=True),
        EventFailed("rate_limited", "said a peer", is_from_peer=True),
        ConnectionClosed("elsewhere"),
        LookupError("a secret"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_no_fault_of_the_event_has_no_code(error: Exception) -> None:
    assert named_failure(error) is None


def test_the_failure_of_another_error_says_nothing_of_it() -> None:
    failure = handler_failed()
    assert (failure.code, failure.message) == ("handler_error", "The handler failed.")


ERRORS = [{"path": ["to", 0], "message": "Not a number", "code": "int_type"}]


def test_what_does_not_fit_goes_with_the_failure() -> None:
    failure = named_failure(InvalidPayload("no", errors=ERRORS))
    assert failure is not None
    assert failure.errors == ERRORS


@pytest.mark.parametrize(
    ("failure", "content"),
    [
        (EventFailed("no", "Never"), {}),
        (EventFailed("no", "Never", details={"left": 5}), {"details": {"left": 5}}),
        (EventFailed("no", "Never", details=0), {"details": 0}),
        (EventFailed("no", "Never", errors=ERRORS), {"errors": ERRORS}),
        (EventFailed("no", "Never", retry_after=0.5), {"retry_after": 0.5}),
    ],
)
def test_a_failure_there_and_back(failure: EventFailed, content: dict[str, Any]) -> None:
    frame = encode_failure(Event("say", 3), failure)
    event = decode(frame)
    assert (event.name, event.ack_id) == ("__err_say", 3)
    assert event.json() == {"code": "no", "message": "Never", **content}
    read = read_failure(event)
    assert (read.details, read.errors, read.retry_after) == (failure.details, failure.errors, failure.retry_after)
    assert read.is_from_peer


@pytest.mark.parametrize(
    "data",
    [
        '{"code":"no","errors":5,"retry_after":"soon"}',
        '{"code":"no","errors":[5]}',
        '{"code":"no","errors":{"path":[]}}',
    ],
)
def test_facts_of_another_type_are_left_out(data: str) -> None:
    failure = read_failure(Event("__err_say", 3, data))
    assert (failure.code, failure.errors, failure.retry_after) == ("no", [], None)


def test_a_peer_may_send_details_that_are_nested_as_deeply_as_can_be_read() -> None:
    depth = 5000
    failure = None
    while failure is None or failure.details is None:
        failure = read_failure(Event("__err_say", 3, f'{{"code":"no","details":{"[" * depth}{"]" * depth}}}'))
        depth -= 50
    assert failure.code == "no"
