"""The cookie of a session that was made during the handshake."""

import time
from typing import Any

from channels.sessions import CookieMiddleware
from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.utils.http import http_date

__all__ = ["can_set_cookie", "session_cookie"]


def can_set_cookie(scope: dict[str, Any]) -> bool:
    """Return whether the server sends headers with the accept (ASGI's WebSocket specification 2.1); daphne does not."""
    version = str(scope.get("asgi", {}).get("spec_version", "2.0"))
    major, _, minor = version.partition(".")
    return major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) >= (2, 1)


def session_cookie(session: SessionBase) -> list[tuple[bytes, bytes]]:
    """Return the headers that set a session's cookie, as Django's own middleware would."""
    message: dict[str, Any] = {}
    max_age = None if session.get_expire_at_browser_close() else session.get_expiry_age()
    CookieMiddleware.set_cookie(
        message,
        settings.SESSION_COOKIE_NAME,
        session.session_key,
        max_age=max_age,
        expires=None if max_age is None else http_date(time.time() + max_age),
        domain=settings.SESSION_COOKIE_DOMAIN,
        path=settings.SESSION_COOKIE_PATH,
        secure=settings.SESSION_COOKIE_SECURE or None,
        httponly=settings.SESSION_COOKIE_HTTPONLY or None,
        samesite=settings.SESSION_COOKIE_SAMESITE or None,
    )
    headers: list[tuple[bytes, bytes]] = message["headers"]
    return headers
