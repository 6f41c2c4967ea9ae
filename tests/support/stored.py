"""Django sessions for the tests: choose an engine, make a session, read the stored one."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase

WITH_LOCK = ("db", "cached_db")
WITHOUT_LOCK = ("cache", "file")


def use_engine(name: str, django_settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Use this session engine, with a separate store for the test."""
    django_settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": str(tmp_path)}
    }
    django_settings.SESSION_FILE_PATH = str(tmp_path)
    django_settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{name}"
    if name == "file":
        monkeypatch.setattr(store_class(), "_storage_path", str(tmp_path), raising=False)


def store_class() -> type[SessionBase]:
    """Return the class of the engine in use."""
    return import_module(settings.SESSION_ENGINE).SessionStore  # type: ignore[no-any-return]


def make_session(user: Any = None, **content: Any) -> str:
    """Store a session with this content, logged in as the user if one is given; return its key."""
    store = store_class()()
    store.update(content)
    if user is not None:
        store[SESSION_KEY] = str(user.pk)
        store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.create()
    assert store.session_key is not None
    return store.session_key


def content_of(key: str | None) -> dict[str, Any] | None:
    """Return the content stored under a key, or `None`."""
    store = store_class()(key)
    content: dict[str, Any] = store.load()
    return content if store.session_key else None


def put(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of a session's content."""
    return lambda content: content.update({key: value})


def patch(key: str, change: Callable[[Any], Any]) -> None:
    """Load a session, change it and save it, as a request does."""
    store = store_class()(key)
    change(store)
    store.save()


amake_session = sync_to_async(make_session)
acontent_of = sync_to_async(content_of)
apatch = sync_to_async(patch)


def cookie(key: str) -> list[tuple[str, str]]:
    """Return the headers of a client with a session's cookie."""
    return [("cookie", f"{settings.SESSION_COOKIE_NAME}={key}")]
