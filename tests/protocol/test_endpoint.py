"""What an incoming frame means to one side of a connection."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_etp.protocol import Event, decode, encode_answer, encode_failure
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.failures import handler_failed

EITHER_PEER = pytest.mark.parametrize("speaks_extensions", [False, True], ids=["plain", "extensions"])
NAMES = st.text().filter(lambda name: "||" not in name and not name.endswith("|"))
ACK_IDS = st.integers(-(2**63), 2**63 - 1)


@EITHER_PEER
@pytest.mark.parametrize("message", ["news||0", "news||7||data", "||0", "||1", "_ack_news||1", "a__ack_||1", "ping||1"])
def test_other_names_are_events(message: str, speaks_extensions: bool) -> None:
    assert meaning_of(decode(message), speaks_extensions=speaks_extensions) == "event"


@EITHER_PEER
@pytest.mark.parametrize(
    "message", ["__ack_news||1", "__ack_news||1||reply", "__ack_||1", "__ack_news||0", "__ack___ping||-1"]
)
def test_a_name_with_the_prefix_of_answers_is_an_answer(message: str, speaks_extensions: bool) -> None:
    assert meaning_of(decode(message), speaks_extensions=speaks_extensions) == "answer"


@pytest.mark.parametrize("message", ['__err_news||1||{"code": "handler_error"}', "__err_||1", "__err_news||0"])
def test_a_failure_stands_for_an_answer_only_between_peers_that_speak_the_extensions(message: str) -> None:
    assert meaning_of(decode(message), speaks_extensions=True) == "answer"
    assert meaning_of(decode(message), speaks_extensions=False) == "event"


@EITHER_PEER
@pytest.mark.parametrize("message", ["__ping||1", "__ping||-1||data"])
def test_a_ping_that_wants_an_answer_is_a_ping(message: str, speaks_extensions: bool) -> None:
    assert meaning_of(decode(message), speaks_extensions=speaks_extensions) == "ping"


@EITHER_PEER
def test_a_ping_that_wants_no_answer_is_an_event(speaks_extensions: bool) -> None:
    assert meaning_of(decode("__ping||0"), speaks_extensions=speaks_extensions) == "event"


def test_a_greeting_is_one_only_between_peers_that_speak_the_extensions() -> None:
    greeting = decode('__hello||0||{"id": "abc"}')
    assert meaning_of(greeting, speaks_extensions=True) == "greeting"
    assert meaning_of(greeting, speaks_extensions=False) == "event"


@EITHER_PEER
@pytest.mark.parametrize("name", ["__", "__ack", "__err", "__pings", "__hello2", "__join"])
def test_other_reserved_names_are_events(name: str, speaks_extensions: bool) -> None:
    assert meaning_of(Event(name, 1), speaks_extensions=speaks_extensions) == "event"


@given(st.builds(Event, NAMES, ACK_IDS.filter(bool), st.text()), st.booleans())
def test_an_answer_to_any_event_is_an_answer(event: Event, speaks_extensions: bool) -> None:
    assert meaning_of(decode(encode_answer(event)), speaks_extensions=speaks_extensions) == "answer"


@given(NAMES, ACK_IDS)
def test_the_failure_of_any_event_is_an_answer_with_the_extensions(name: str, ack_id: int) -> None:
    failure = decode(encode_failure(Event(name, ack_id), handler_failed()))
    assert meaning_of(failure, speaks_extensions=True) == "answer"
