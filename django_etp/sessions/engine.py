"""The session engine of the project: its store, and the model of its rows.

A query for a living session goes to the database that is written to: a replica may lag behind.
"""

import sys
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core.signals import setting_changed
from django.db import models, router
from django.db.models import QuerySet
from django.dispatch import receiver
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.sessions.base_session import AbstractBaseSession

__all__ = ["database_of_sessions", "living_rows", "session_model", "store_class"]

# Each model of sessions has at least these fields.
_FIELDS = {"session_key", "session_data", "expire_date"}


@lru_cache(maxsize=1)
def store_class() -> type[SessionBase]:
    """Return the ``SessionStore`` of ``SESSION_ENGINE``."""
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


@lru_cache(maxsize=1)
def session_model() -> "type[AbstractBaseSession] | None":
    """Return the model whose rows are the sessions, or ``None`` if the engine does not keep them as rows.

    Some engines, such as that of django-user-sessions, derive from none of Django's, but name the model as Django does.
    """
    store = store_class()
    if issubclass(store, CacheStore | FileStore | CookieStore):
        return None
    if issubclass(store, DatabaseStore):
        return store.get_model_class()
    model = getattr(sys.modules[store.__module__], "Session", None)
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        return None
    fields = {field.name for field in model._meta.get_fields()}
    return model if fields >= _FIELDS else None  # type: ignore[return-value]


def database_of_sessions() -> str | None:
    """Return the alias of the sessions' database, or ``None`` if the engine does not keep them in one."""
    model = session_model()
    return None if model is None else router.db_for_write(model)


def living_rows(model: type[models.Model], **conditions: Any) -> "QuerySet[Any]":
    """Return the rows of sessions that have not expired and meet the conditions."""
    rows = model._base_manager.using(router.db_for_write(model))
    return rows.filter(expire_date__gt=timezone.now(), **conditions)


@receiver(setting_changed)
def _forget_engine(*, setting: str, **_: object) -> None:
    if setting == "SESSION_ENGINE":
        store_class.cache_clear()
        session_model.cache_clear()
