"""Changing a stored Django session without erasing what others wrote to it, or bringing it back from the dead.

Rules kept here:

- ``db`` and ``cached_db``: in one transaction, a no-op ``UPDATE`` takes the row's lock (on every database, SQLite
  included); the row is read behind it, patched, and written. No row, or an expired one: the session is gone, nothing
  is written. The cache entry is deleted after the commit and never set.
- ``cache`` and ``file`` have no such lock: load, patch, save. What others write within that round trip is lost; in this
  process a session has one writer at a time.
- ``cache`` and ``file`` take a store that is out of reach for the session's end: it is asked again in a way that fails.
- Whether a session or a user is still there is asked of the database that is written to: a replica may lag behind.

All functions are synchronous, and touch the database or the cache.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.core.exceptions import SuspiciousOperation
from django.core.management.base import CommandError
from django.core.signals import setting_changed
from django.db import router, transaction
from django.db.models import F, QuerySet
from django.dispatch import receiver
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.sessions.base_session import AbstractBaseSession

__all__ = [
    "DATA_KEY",
    "create_session",
    "existing_sessions",
    "patch_session",
    "read_shares",
    "remove_data",
    "sessions_with_data",
    "shares_in",
]

# Where a session holds the data of its connections, by connection id.
DATA_KEY = "etp"

# Where Django keeps what set_expiry() was told.
_EXPIRY_KEY = "_session_expiry"

Change = Callable[[dict[str, Any]], None]

# Sessions without a lock of their own share these, by their key.
_locks = [threading.Lock() for _ in range(64)]


def patch_session(session_key: str, change: Change) -> bool:
    """Apply ``change`` to a stored session's content as it is now; return whether the session still lives."""
    store = _engine()(session_key)
    if isinstance(store, DatabaseStore):
        return _patch_row(store, change)
    with _locks[hash(session_key) % len(_locks)]:
        content = _load(store)
        if content is None:
            return False
        change(content)
        try:
            store.save()
        except UpdateError:
            return False
    return True


def create_session(change: Change) -> str | None:
    """Make a new session with what ``change`` puts in, and return its key."""
    store = _engine()()
    change(_content(store))
    store.create()
    return store.session_key


def existing_sessions(session_keys: Iterable[str]) -> set[str]:
    """Return those of the keys whose session lives."""
    keys = list(session_keys)
    engine = _engine()
    if not issubclass(engine, DatabaseStore):
        return {key for key in keys if _load(engine(key)) is not None}
    found: set[str] = set()
    for start in range(0, len(keys), 500):
        found.update(_living(engine(), session_key__in=keys[start : start + 500]).values_list("session_key", flat=True))
    return found


def read_shares(session_keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the data of connections in those of the sessions that live, by connection id, by session key."""
    keys = list(session_keys)
    store = _engine()()
    contents: dict[str, dict[str, Any]] = {}
    if isinstance(store, DatabaseStore):
        for start in range(0, len(keys), 500):
            rows = _living(store, session_key__in=keys[start : start + 500])
            for key, data in rows.values_list("session_key", "session_data"):
                contents[key] = store.decode(data)
    else:
        for key in keys:
            if (content := _load(_engine()(key))) is not None:
                contents[key] = content
    return {key: shares_in(content) for key, content in contents.items()}


def shares_in(content: dict[str, Any]) -> dict[str, Any]:
    """Return the data of connections in a session's content, by connection id."""
    shares = content.get(DATA_KEY)
    return shares if isinstance(shares, dict) else {}


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
    for row in _living(store).iterator():
        if shares := shares_in(store.decode(row.session_data)):
            yield row.session_key, set(shares)


def remove_data(session_key: str, connection_ids: Iterable[str]) -> bool:
    """Remove the data of connections from a stored session; return whether the session lives."""
    gone = frozenset(connection_ids)

    def remove(content: dict[str, Any]) -> None:
        shares = {id: share for id, share in shares_in(content).items() if id not in gone}
        if shares:
            content[DATA_KEY] = shares
        else:
            content.pop(DATA_KEY, None)

    return patch_session(session_key, remove)


def _patch_row(store: DatabaseStore, change: Change) -> bool:
    key = store.session_key
    using = router.db_for_write(store.model)
    with transaction.atomic(using=using):
        if not _living(store, session_key=key).update(expire_date=F("expire_date")):
            return False
        row = store.model.objects.using(using).filter(session_key=key)
        content = store.decode(row.values_list("session_data", flat=True).get())
        expiry = content.get(_EXPIRY_KEY)
        change(content)
        changed: dict[str, Any] = {"session_data": store.encode(content)}
        if content.get(_EXPIRY_KEY) != expiry:  # by set_expiry(); any other change prolongs nothing
            changed["expire_date"] = store.get_expiry_date(expiry=content.get(_EXPIRY_KEY))
        row.update(**changed)
    if (cache := getattr(store, "_cache", None)) is not None:
        cache.delete(f"{store.cache_key_prefix}{key}")  # type: ignore[attr-defined]
    return True


def _living(store: DatabaseStore, **conditions: Any) -> "QuerySet[AbstractBaseSession]":
    rows = store.model.objects.using(router.db_for_write(store.model))
    return rows.filter(expire_date__gt=timezone.now(), **conditions)


def _load(store: SessionBase) -> dict[str, Any] | None:
    """Return the content of a stored session of another engine than the database's; ``None`` where it is gone.

    Raises:
        Exception: whatever the cache raises, or an ``OSError``: nobody can tell now.
    """
    key = store.session_key
    if isinstance(store, CacheStore):
        found: dict[str, Any] | None = store._cache.get(store.cache_key)  # type: ignore[attr-defined]
        store._session_cache = found  # type: ignore[attr-defined]
        return found
    content = _content(store)
    if store.session_key == key:
        return content
    if isinstance(store, FileStore) and key is not None and _has_file(store, key):
        raise OSError("A stored session's file is there, and cannot be read.")
    # Of a session that is gone, some engines make a new one.
    if store.session_key is not None:
        store.delete()
    return None


def _has_file(store: FileStore, key: str) -> bool:
    try:
        return os.path.exists(store._key_to_file(key))  # type: ignore[attr-defined]
    except SuspiciousOperation:  # no key of Django's
        return False


def _content(store: SessionBase) -> dict[str, Any]:
    return cast(dict[str, Any], store._session)  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _engine() -> type[SessionBase]:
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


@receiver(setting_changed)
def _forget_engine(*, setting: str, **_: object) -> None:
    if setting == "SESSION_ENGINE":
        _engine.cache_clear()
