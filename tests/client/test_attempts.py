"""When a client connects again, and when it gives up."""

import itertools

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed as WebSocketClosed
from websockets.exceptions import InvalidStatus, InvalidURI
from websockets.http11 import Response

from django_etp.client import attempts as module
from django_etp.client.attempts import Attempts
from django_etp.protocol.closing import Disconnect

FORBIDDEN = InvalidStatus(Response(403, "Forbidden", Headers()))
REFUSED = InvalidStatus(Response(404, "Not Found", Headers()))
BUSY = InvalidStatus(Response(503, "Service Unavailable", Headers()))
RESTART = Disconnect(1012, "restart")
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
    assert attempts.ended(RESTART)
    assert attempts.delay_after(RESTART) == 2.0
    attempts.connected()
    assert attempts.ended(RESTART)
    assert attempts.delay_after(RESTART) is None


def test_the_delays_begin_again_after_a_long_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STABLE_AFTER", 0.0)
    monkeypatch.setattr(module, "_RESTARTS_WITHIN", 0.0)
    attempts = attempts_with(1.0)
    for _ in range(3):
        attempts.connected()
        assert attempts.ended(RESTART)
        assert attempts.delay_after(RESTART) == 1.0


def test_the_first_delay_is_a_later_one_each_time_while_the_server_restarts_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_STABLE_AFTER", 0.0)
    attempts = attempts_with(1.0, 2.0, 4.0)
    for delay in (1.0, 2.0, 4.0, 1.0):  # the client never gives up for that
        attempts.connected()
        assert attempts.ended(RESTART)
        assert attempts.delay_after(RESTART) == delay
    lost = Disconnect(1006)
    attempts.connected()
    assert attempts.ended(lost)
    assert attempts.delay_after(lost) == 1.0


def test_the_server_may_say_when_to_connect_again() -> None:
    attempts = attempts_with(5.0, 6.0)
    assert attempts.delay_after(Disconnect(1012, '{"reconnect_in": 200}')) == 0.2
    assert attempts.delay_after(Disconnect(1012, "soon")) == 6.0


def test_no_time_of_the_server_replaces_a_delay_that_is_not_there() -> None:
    assert attempts_with().delay_after(Disconnect(1012, '{"reconnect_in": 200}')) is None


@pytest.mark.parametrize("error", [InvalidURI("ws://[", "invalid"), LookupError("of the proxy")])
def test_no_attempt_follows_an_error_that_would_come_again(error: Exception) -> None:
    assert attempts_with(1.0).failed(error).delay is None


def test_no_attempt_follows_twenty_refusals_in_a_row() -> None:
    attempts = Attempts(lambda: itertools.repeat(1.0))
    assert {attempts.failed(REFUSED).delay for _ in range(19)} == {1.0}
    assert attempts.failed(UNREACHABLE).delay == 1.0
    assert {attempts.failed(REFUSED).delay for _ in range(19)} == {1.0}
    assert attempts.failed(REFUSED).delay is None


# Refusals


@pytest.mark.parametrize("error", [BUSY, WebSocketClosed(None, None), UNREACHABLE], ids=["503", "1013", "no server"])
def test_a_fault_that_may_pass_is_tried_again_for_as_long_as_there_are_delays(error: Exception) -> None:
    attempts = Attempts(lambda: itertools.repeat(1.0))
    assert {attempts.failed(error).delay for _ in range(100)} == {1.0}


def test_what_a_function_of_the_application_raises_may_pass() -> None:
    attempts = attempts_with(1.0, 1.0)
    assert attempts.failed(LookupError("no token"), may_pass=True).delay == 1.0
    assert attempts.failed(LookupError("of the proxy")).delay is None


@pytest.mark.parametrize(("may_change", "tries"), [(False, 0), (True, 1)])
def test_a_handshake_that_is_forbidden_is_final_unless_the_next_may_differ(may_change: bool, tries: int) -> None:
    attempts = Attempts(lambda: itertools.repeat(1.0), may_change=may_change)
    delays = [attempts.failed(FORBIDDEN).delay for _ in range(tries + 1)]
    assert delays == [1.0] * tries + [None]


@pytest.mark.parametrize("code", [1000, 4403])
def test_an_end_on_purpose_is_final(code: int) -> None:
    assert not Attempts(lambda: itertools.repeat(1.0), may_change=True).ended(Disconnect(code))


@pytest.mark.parametrize(
    ("reason", "may_change", "may_return"),
    [
        ("the token expired", False, False),
        ("the token expired", True, True),
        ("", True, True),
        ("logged out", True, False),
        ("the user was deleted or deactivated", True, False),
    ],
)
def test_the_end_of_a_login_is_final_unless_the_next_may_differ(
    reason: str, may_change: bool, may_return: bool
) -> None:
    attempts = Attempts(lambda: itertools.repeat(1.0), may_change=may_change)
    assert attempts.ended(Disconnect(4401, reason)) is may_return


@pytest.mark.parametrize("is_forbidden", [True, False])
def test_a_second_end_of_a_login_is_final(is_forbidden: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = Attempts(lambda: itertools.repeat(1.0), may_change=True)
    expired = Disconnect(4401, "the token expired")
    attempts.connected()
    assert attempts.ended(expired)
    if is_forbidden:
        assert attempts.failed(FORBIDDEN).delay is None
    else:
        attempts.connected()
        assert not attempts.ended(expired)
        monkeypatch.setattr(module, "_STABLE_AFTER", 0.0)  # after a connection that lasted there is another chance
        assert attempts.ended(expired)
