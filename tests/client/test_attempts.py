"""When a client connects again, and when it gives up."""

import itertools

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.http11 import Response

from django_etp.client import attempts as module
from django_etp.client.attempts import Attempts

REFUSED = InvalidStatus(Response(403, "Forbidden", Headers()))
UNREACHABLE = ConnectionRefusedError()


def attempts_with(*delays: float) -> Attempts:
    return Attempts(lambda: iter(delays))


def test_attempts_are_numbered_and_have_a_delay_each() -> None:
    attempts = attempts_with(1.0, 2.0)
    failed = [attempts.failed(UNREACHABLE) for _ in range(3)]
    assert [(each.attempt, each.delay) for each in failed] == [(1, 1.0), (2, 2.0), (3, None)]
    assert {each.error for each in failed} == {UNREACHABLE}


def test_the_numbers_begin_again_after_a_connection() -> None:
    attempts = attempts_with(1.0, 2.0)
    attempts.failed(UNREACHABLE)
    attempts.connected()
    assert attempts.failed(UNREACHABLE).attempt == 1


def test_the_delays_go_on_after_a_short_connection() -> None:
    attempts = attempts_with(1.0, 2.0)
    attempts.failed(UNREACHABLE)
    attempts.connected()
    assert attempts.ended() == 2.0
    attempts.connected()
    assert attempts.ended() is None


def test_the_delays_begin_again_after_a_long_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STABLE_AFTER", 0.0)
    attempts = attempts_with(1.0)
    for _ in range(3):
        attempts.connected()
        assert attempts.ended() == 1.0


@pytest.mark.parametrize("error", [InvalidURI("ws://[", "invalid"), LookupError("of the proxy")])
def test_no_attempt_follows_an_error_that_would_come_again(error: Exception) -> None:
    assert attempts_with(1.0).failed(error).delay is None


def test_no_attempt_follows_twenty_refusals_in_a_row() -> None:
    attempts = Attempts(lambda: itertools.repeat(1.0))
    assert {attempts.failed(REFUSED).delay for _ in range(19)} == {1.0}
    assert attempts.failed(UNREACHABLE).delay == 1.0
    assert {attempts.failed(REFUSED).delay for _ in range(19)} == {1.0}
    assert attempts.failed(REFUSED).delay is None
