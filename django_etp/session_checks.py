"""System checks: a session engine that cannot hold connection data, or not safely."""

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

__all__ = ["check_session_engine"]

_COOKIES = "django.contrib.sessions.backends.signed_cookies"
_WITHOUT_LOCK = {
    "django.contrib.sessions.backends.cache": "cache",
    "django.contrib.sessions.backends.file": "file",
}


def check_session_engine(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a session engine that cannot hold ``connection.data``, or that may lose writes to it."""
    engine = getattr(settings, "SESSION_ENGINE", "")
    if engine == _COOKIES:
        return [
            Error(
                "SESSION_ENGINE is signed_cookies: a WebSocket cannot write the browser's cookie, so connection data "
                "and changes of connection.session could never be saved.",
                hint="Use the engine db or cached_db.",
                id="django_etp.E101",
            )
        ]
    if engine in _WITHOUT_LOCK:
        return [
            Warning(
                f"SESSION_ENGINE is {_WITHOUT_LOCK[engine]}, which has no lock: two processes that write a session at "
                "the same moment can lose one of the writes.",
                hint="Use the engine db or cached_db, where none is lost; silence this if you can live with it.",
                id="django_etp.W101",
            )
        ]
    return []
