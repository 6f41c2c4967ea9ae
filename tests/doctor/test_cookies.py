"""Whether a browser sends the session cookie with the handshake."""

from typing import Any

import pytest

from django_etp.doctor.cookies import check_cookie_rules
from django_etp.doctor.target import make_target

HERE = "wss://example.com/ws/"


@pytest.mark.parametrize(
    ("url", "origin", "values"),
    [
        (HERE, None, {}),
        (HERE, None, {"SESSION_COOKIE_SECURE": True, "SESSION_COOKIE_SAMESITE": "Strict"}),
        (HERE, None, {"SESSION_COOKIE_PATH": "/ws"}),
        (HERE, None, {"SESSION_COOKIE_PATH": "/ws/"}),
        ("wss://ws.example.com/", "https://www.example.com", {"SESSION_COOKIE_DOMAIN": ".example.com"}),
        ("wss://ws.example.org/", "https://example.com", {"SESSION_COOKIE_DOMAIN": "example.org", **{
            "SESSION_COOKIE_SAMESITE": "None", "SESSION_COOKIE_SECURE": True}}),
        ("ws://localhost:8000/", None, {"SESSION_COOKIE_SECURE": True}),
        ("ws://127.0.0.1:8000/", "http://127.0.0.1:3000", {}),
        (HERE, None, {"SESSION_COOKIE_SAMESITE": False}),
    ],
)  # fmt: skip
def test_a_cookie_that_is_sent_is_ok(settings: Any, url: str, origin: str | None, values: dict[str, Any]) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    finding = check_cookie_rules(make_target(url, origin=origin))
    assert finding.status == "ok", finding


@pytest.mark.parametrize(
    ("url", "origin", "values", "reason"),
    [
        (HERE, None, {"SESSION_COOKIE_PATH": "/app/"}, "SESSION_COOKIE_PATH is '/app/'"),
        ("wss://example.com/wsx/", None, {"SESSION_COOKIE_PATH": "/ws"}, "SESSION_COOKIE_PATH is '/ws'"),
        ("wss://ws.example.com/", "https://example.com", {}, "the cookie belongs to example.com alone"),
        (HERE, None, {"SESSION_COOKIE_DOMAIN": "example.org"}, "does not belong to"),
        ("ws://example.com/", None, {"SESSION_COOKIE_SECURE": True}, "SESSION_COOKIE_SECURE is on"),
        (HERE, "https://example.org", {"SESSION_COOKIE_DOMAIN": "example.com"}, "SESSION_COOKIE_SAMESITE is 'Lax'"),
        (HERE, "http://example.com", {"SESSION_COOKIE_SAMESITE": "Strict"}, "SESSION_COOKIE_SAMESITE is 'Strict'"),
        (
            "ws://10.0.0.1/",
            "http://10.1.0.1",
            {"SESSION_COOKIE_DOMAIN": "10.0.0.1"},
            "SESSION_COOKIE_SAMESITE is 'Lax'",
        ),
        (HERE, None, {"SESSION_COOKIE_SAMESITE": "None"}, "without SESSION_COOKIE_SECURE"),
    ],
)
def test_a_cookie_that_is_lost_is_named(
    settings: Any, url: str, origin: str | None, values: dict[str, Any], reason: str
) -> None:
    for name, value in values.items():
        setattr(settings, name, value)
    finding = check_cookie_rules(make_target(url, origin=origin))
    assert finding.status == "failure"
    assert reason in finding.came
    assert finding.remedy
