"""Close codes and reasons: what RFC 6455 lets an endpoint send."""

import pytest

from django_etp.exceptions import InvalidCloseCode, ProtocolError
from django_etp.protocol.closing import Disconnect, check_close, cut_reason, reconnect_in, restart


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1007, 1013, 1014, 3000, 4403, 4999])
def test_codes_that_an_endpoint_may_send(code: int) -> None:
    check_close(code, "")


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, "1000", None, [1000], 10**9])
def test_codes_that_no_endpoint_may_send(code: int) -> None:
    with pytest.raises(InvalidCloseCode, match="close code"):
        check_close(code, "")


@pytest.mark.parametrize("reason", ["", "a" * 123, "ü" * 61])
def test_reasons_that_fit_a_close_frame(reason: str) -> None:
    check_close(1000, reason)


@pytest.mark.parametrize("reason", ["a" * 124, "ü" * 62, "\ud800", None, b"bytes", 1])
def test_reasons_that_do_not_fit_a_close_frame(reason: str) -> None:
    with pytest.raises(InvalidCloseCode, match="close reason"):
        check_close(1000, reason)


def test_an_invalid_close_is_a_protocol_error() -> None:
    assert issubclass(InvalidCloseCode, ProtocolError)


@pytest.mark.parametrize("reason", ["", "short", "a" * 300, "ü" * 100, "€" * 50, "🎈" * 40])
def test_a_cut_reason_fits_and_is_how_the_reason_begins(reason: str) -> None:
    cut = cut_reason(reason)
    check_close(1000, cut)
    assert reason.startswith(cut)
    assert cut == reason or len(cut.encode()) > 119


@pytest.mark.parametrize(("code", "is_normal"), [(1000, True), (1001, False), (1006, False), (4000, False)])
def test_only_code_1000_is_a_normal_end(code: int, is_normal: bool) -> None:
    assert Disconnect(code).is_normal is is_normal


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "200"), (0, "0"), (1.5, "1500")])
def test_a_restart_says_when_to_connect_again(seconds: float, text: str) -> None:
    assert restart(seconds) == Disconnect(1012, f'{{"reconnect_in": {text}}}')
    assert reconnect_in(restart(seconds)) == seconds


@pytest.mark.parametrize("milliseconds", ["300000", "300001", "1e300", "9" * 100])
def test_the_server_may_ask_for_five_minutes_at_most(milliseconds: str) -> None:
    assert reconnect_in(Disconnect(1012, f'{{"reconnect_in": {milliseconds}}}')) == 300


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "restart",
        "200",
        "[]",
        "{}",
        "null",
        '{"reconnect_in": "200"}',
        '{"reconnect_in": null}',
        '{"reconnect_in": true}',
        '{"reconnect_in": -1}',
        '{"reconnect_in": NaN}',
        '{"reconnect_in": [5]}',
        "[" * 123,
    ],
)
def test_a_reason_that_names_no_time_is_ignored(reason: str) -> None:
    assert reconnect_in(Disconnect(1012, reason)) is None


@pytest.mark.parametrize("code", [1001, 1013, 4012])
def test_no_other_code_names_a_time(code: int) -> None:
    assert reconnect_in(Disconnect(code, '{"reconnect_in": 200}')) is None
