"""Changing a stored Django session without erasing what others wrote to it, or bringing it back from the dead.

Rules kept here:

- ``db`` and ``cached_db``: in one transaction, a no-op ``UPDATE`` takes the row's lock (on every database, SQLite
  included); the row is read behind it, patched, and written. No row, or an expired one: the session is gone, nothing
  is written. The cache entry is deleted after the commit and never set.
- ``cache`` and ``file`` have no such lock: load, patch, save. What others write within that round trip is lost; within
  this process one writer at a time keeps it short.

All functions are synchronous, and touch the database or the cache.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import Any, cast

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.core.management.base import CommandError
from django.core.signals import setting_changed
from django.db import router, transaction
from django.db.models import F
from django.dispatch import receiver
from django.utils import timezone

__all__ = [
    "DATA_KEY",
    "create_session",
    "existing_sessions",
    "patch_session",
    "read_session",
    "remove_data",
    "sessions_with_data",
]

# Where a session holds the data of its connections, by connection id.
DATA_KEY = "etp"

Change = Callable[[dict[str, Any]], None]

_lock = threading.Lock()


def patch_session(session_key: str, change: Change) -> bool:
    """Apply ``change`` to a stored session's content as it is now; return whether the session still lives."""
    store = _engine()(session_key)
    if isinstance(store, DatabaseStore):
        return _patch_row(store, change)
    with _lock:
        if not store.exists(session_key):
            return False
        change(cast(dict[str, Any], store._session))  # type: ignore[attr-defined]
        try:
            store.save()
        except UpdateError:
            return False
    return True


def create_session(change: Change) -> SessionBase:
    """Make a new session with what ``change`` puts in, and return it."""
    store = _engine()()
    change(cast(dict[str, Any], store._session))  # type: ignore[attr-defined]
    store.create()
    # create() saves an empty session on some engines.
    store.save()
    return store


def read_session(session_key: str) -> dict[str, Any] | None:
    """Return a session's content as it is now, past any cache; ``None`` where it is gone."""
    store = _engine()(session_key)
    if isinstance(store, DatabaseStore):
        row = store.model.objects.filter(session_key=session_key, expire_date__gt=timezone.now()).first()
        return None if row is None else store.decode(row.session_data)
    return dict(store.load()) if store.exists(session_key) else None


def existing_sessions(session_keys: Iterable[str]) -> set[str]:
    """Return those of the keys whose session lives."""
    store = _engine()()
    keys = list(session_keys)
    if isinstance(store, DatabaseStore):
        found: set[str] = set()
        for start in range(0, len(keys), 500):
            some = store.model.objects.filter(session_key__in=keys[start : start + 500], expire_date__gt=timezone.now())
            found.update(some.values_list("session_key", flat=True))
        return found
    return {key for key in keys if store.exists(key)}


def sessions_with_data() -> Iterator[tuple[str, set[str]]]:
    """Give the keys of the living sessions that hold connection data, and the ids of the connections.

    Raises:
        CommandError: the session engine cannot list its sessions.
    """
    store = _engine()()
    if not isinstance(store, DatabaseStore):
        raise CommandError(
            "Sessions of this engine cannot be listed: only those of db and cached_db can. What is left behind in "
            "others goes with the next socket of the session, or when it expires."
        )
    for row in store.model.objects.filter(expire_date__gt=timezone.now()).iterator():
        shares = store.decode(row.session_data).get(DATA_KEY)
        if isinstance(shares, dict) and shares:
            yield row.session_key, set(shares)


def remove_data(session_key: str, connection_ids: Iterable[str]) -> bool:
    """Remove the data of connections from a stored session; return whether the session lives."""

    def remove(content: dict[str, Any]) -> None:
        shares = {id: share for id, share in content.get(DATA_KEY, {}).items() if id not in set(connection_ids)}
        if shares:
            content[DATA_KEY] = shares
        else:
            content.pop(DATA_KEY, None)

    return patch_session(session_key, remove)


def _patch_row(store: DatabaseStore, change: Change) -> bool:
    key = store.session_key
    using = router.db_for_write(store.model)
    rows = store.model.objects.using(using).filter(session_key=key)
    with transaction.atomic(using=using):
        if not rows.filter(expire_date__gt=timezone.now()).update(expire_date=F("expire_date")):
            return False
        content = store.decode(rows.values_list("session_data", flat=True).get())
        change(content)
        rows.update(session_data=store.encode(content))
    if (cache := getattr(store, "_cache", None)) is not None:
        cache.delete(f"{store.cache_key_prefix}{key}")  # type: ignore[attr-defined]
    return True


@lru_cache(maxsize=1)
def _engine() -> type[SessionBase]:
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


@receiver(setting_changed)
def _forget_engine(*, setting: str, **_: object) -> None:
    if setting == "SESSION_ENGINE":
        _engine.cache_clear()
