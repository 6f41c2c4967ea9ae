"""Which errors have a code of the extensions, and whose fault they are."""

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


@pytest.mark.parametrize("retry_after", [1.5, None])
def test_a_failure_may_hold_when_to_try_again(retry_after: float | None) -> None:
    frame = encode_failure(Event("say", 3), EventFailed("rate_limited", "no", retry_after=retry_after))
    assert ('"retry_after":1.5' in frame) == (retry_after is not None)
    assert read_failure(decode(frame)).retry_after == retry_after


def test_a_time_that_is_no_number_is_left_out() -> None:
    assert read_failure(Event("__err_say", 3, '{"code":"rate_limited","retry_after":"soon"}')).retry_after is None
