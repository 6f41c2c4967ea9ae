"""System checks of the session engine: it can hold connection data, and hold it safely."""

from collections.abc import Sequence
from typing import Any

from django.apps.config import AppConfig
from django.conf import settings
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core.checks import CheckMessage, Error, Warning
from django.utils.module_loading import import_string

__all__ = ["check_session_engine"]

_WITHOUT_LOCK = {CacheStore: "cache", FileStore: "file"}


def check_session_engine(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Report a session engine that cannot hold ``connection.data``, or that may lose writes to it."""
    try:
        engine = import_string(f"{settings.SESSION_ENGINE}.SessionStore")
    except (AttributeError, ImportError):
        return []  # Django raises the error when the first session is made
    if issubclass(engine, CookieStore):
        return [
            Error(
                "SESSION_ENGINE is signed_cookies: a WebSocket cannot write the browser's cookie, so connection data "
                "and changes of connection.session could never be saved.",
                hint="Use the engine db or cached_db.",
                id="django_etp.E101",
            )
        ]
    for store, name in _WITHOUT_LOCK.items():
        if not issubclass(engine, store):
            continue
        return [
            Warning(
                f"SESSION_ENGINE is {name}, which has no lock: two processes that write a session at "
                "the same moment can lose one of the writes.",
                hint="Use the engine db or cached_db, which lose none. Silence this check if you can accept the loss.",
                id="django_etp.W101",
            )
        ]
    return []
