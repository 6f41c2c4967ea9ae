"""Changing a stored Django session without erasing what others wrote to it, or bringing it back from the dead.

Rules kept here:

- ``db`` and ``cached_db``, and other engines that keep sessions as rows of a model: in one transaction, a no-op
  ``UPDATE`` takes the row's lock (on every database, SQLite included); the row is read behind it, patched, and written.
  No row, or an expired one: the session is gone, nothing is written. Columns of the row's own stay. The cache entry is
  deleted after the commit and never set.
- ``cache`` and ``file`` have no such lock: load, patch, save. What others write within that round trip is lost; in this
  process a session has one writer at a time.
- A store that is out of reach is an error, never a session's end. Django's ``cache`` and ``file`` engines do not tell
  them apart: a cache must bring back what was just written to it along with its answer, a file be missing from a
  directory that is there.
- Whether a session or a user is still there is asked of the database that is written to: a replica may lag behind.

All functions are synchronous, and touch the database or the cache.
"""

import os
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.db import SessionStore as DatabaseStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.core.exceptions import SuspiciousOperation
from django.core.management.base import CommandError
from django.core.signals import setting_changed
from django.db import models, router, transaction
from django.db.models import F, QuerySet
from django.dispatch import receiver
from django.utils import timezone

if TYPE_CHECKING:
    from django.contrib.sessions.base_session import AbstractBaseSession

__all__ = [
    "DATA_KEY",
    "EXPIRY_KEY",
    "MADE_KEY",
    "create_session",
    "database_of_sessions",
    "discard_session",
    "existing_sessions",
    "patch_session",
    "read_shares",
    "remove_data",
    "sessions_with_data",
    "shares_in",
]

# Where a session holds the data of its connections, by connection id.
DATA_KEY = "etp"

# Says that a session was made for the data of connections, and may go with the last of it.
MADE_KEY = "_etp_made"

# Where Django keeps what set_expiry() was told.
EXPIRY_KEY = "_session_expiry"

# Of a cache's several servers one may be away: so many keys are likely to ask all of them.
_PROBES = 16
# How often a cache is asked that does not bring back what was written to it, as a replica may lag behind, and the pause
# between, in seconds.
_TRIES = 3
_PAUSE = 0.1

# What a row of a session has at least.
_FIELDS = {"session_key", "session_data", "expire_date"}

Change = Callable[[dict[str, Any]], None]

# Sessions without a lock of their own share these, by their key.
_locks = [threading.Lock() for _ in range(64)]


def patch_session(session_key: str, change: Change, *, prolong: bool = False, is_end: bool = False) -> bool:
    """Apply ``change`` to a stored session's content as it is now; return whether the session still lives.

    ``prolong``: it expires as late as if it were made now. In a database a change of the expiry does that, too, and any
    other change does not. ``is_end``: the connection has ended, maybe since the session has.
    """
    store = _engine()(session_key)
    if model := _model():
        # An UPDATE locks SQLite though it changes no row, and fails the requests that have begun to read.
        if is_end and not _living(model, session_key=session_key).exists():
            return False
        return _patch_row(store, model, change, prolong=prolong)
    with _locks[hash(session_key) % len(_locks)]:
        content = _load(store)
        if content is None:
            return False
        change(content)
        try:
            store.save()
        except UpdateError:
            if _load(_engine()(session_key)) is not None:
                raise OSError("The session store did not take a change.") from None
            return False
    return True


def database_of_sessions() -> str | None:
    """Return the alias of the database where sessions are; ``None`` where the engine keeps them elsewhere."""
    model = _model()
    return None if model is None else router.db_for_write(model)


def create_session(change: Change) -> str | None:
    """Make a new session with what ``change`` puts in, and return its key."""
    store = _engine()()
    content: dict[str, Any] = {}
    change(content)
    for key, value in content.items():
        store[key] = value  # some engines look at what is set, and have a column for it
    store.create()
    return store.session_key


def discard_session(session_key: str) -> None:
    """Delete a session that was made for the data of connections, if it holds nothing else and no data any more."""
    store = _engine()(session_key)
    if model := _model():
        using = router.db_for_write(model)
        with transaction.atomic(using=using):
            row = _living(model, session_key=session_key)
            if not row.update(expire_date=F("expire_date")):
                return
            if store.decode(row.values_list("session_data", flat=True).get()).keys() == {MADE_KEY}:
                row.delete()
        _forget_cached(store)
        return
    with _locks[hash(session_key) % len(_locks)]:
        content = _load(store)
        if content is not None and content.keys() == {MADE_KEY}:
            store.delete()


def existing_sessions(session_keys: Iterable[str]) -> set[str]:
    """Return those of the keys whose session lives."""
    keys = list(session_keys)
    model = _model()
    if model is None:
        return set(_load_all(keys))
    found: set[str] = set()
    for start in range(0, len(keys), 500):
        found.update(_living(model, session_key__in=keys[start : start + 500]).values_list("session_key", flat=True))
    return found


def read_shares(session_keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the data of connections in those of the sessions that live, by connection id, by session key."""
    keys = list(session_keys)
    store = _engine()()
    contents: dict[str, dict[str, Any]] = {}
    if model := _model():
        for start in range(0, len(keys), 500):
            rows = _living(model, session_key__in=keys[start : start + 500])
            for key, data in rows.values_list("session_key", "session_data"):
                contents[key] = store.decode(data)
    else:
        contents = _load_all(keys)
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
    model = _model()
    if model is None:
        raise CommandError(
            "Sessions of this engine cannot be listed: only those of db and cached_db can. What is left behind in "
            "others goes with the next socket of the session, or when it expires."
        )
    for key, data in _living(model).values_list("session_key", "session_data").iterator():
        if shares := shares_in(store.decode(data)):
            yield key, set(shares)


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


def _patch_row(store: SessionBase, model: type[models.Model], change: Change, *, prolong: bool) -> bool:
    key = store.session_key
    using = router.db_for_write(model)
    with transaction.atomic(using=using):
        if not _living(model, session_key=key).update(expire_date=F("expire_date")):
            return False
        row = model._base_manager.using(using).filter(session_key=key)
        content = store.decode(row.values_list("session_data", flat=True).get())
        expiry = content.get(EXPIRY_KEY)
        change(content)
        changed: dict[str, Any] = {"session_data": store.encode(content)}
        if prolong or content.get(EXPIRY_KEY) != expiry:  # by set_expiry(); any other change prolongs nothing
            changed["expire_date"] = store.get_expiry_date(expiry=content.get(EXPIRY_KEY))
        row.update(**changed)
    _forget_cached(store)
    return True


def _forget_cached(store: SessionBase) -> None:
    if (cache := getattr(store, "_cache", None)) is not None:
        cache.delete(f"{store.cache_key_prefix}{store.session_key}")  # type: ignore[attr-defined]


def _living(model: type[models.Model], **conditions: Any) -> "QuerySet[Any]":
    rows = model._base_manager.using(router.db_for_write(model))
    return rows.filter(expire_date__gt=timezone.now(), **conditions)


def _load_all(session_keys: list[str]) -> dict[str, dict[str, Any]]:
    """Return the contents of those of the sessions that live, by key. See _load()."""
    loaded = {key: _load(_engine()(key)) for key in session_keys}
    return {key: content for key, content in loaded.items() if content is not None}


def _load(store: SessionBase) -> dict[str, Any] | None:
    """Return the content of a stored session of another engine than the database's; ``None`` where it is gone.

    Raises:
        Exception: whatever the cache raises, or an ``OSError``: nobody can tell now.
    """
    key = store.session_key
    if isinstance(store, CacheStore):
        found = _from_cache(store._cache, store.cache_key)  # type: ignore[attr-defined]
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


def _from_cache(cache: Any, name: str) -> dict[str, Any] | None:
    """Return what a cache holds, ``None`` where it holds nothing.

    A cache that is out of reach may answer as one that holds nothing, as the settings ``IGNORE_EXCEPTIONS`` of
    django-redis and ``ignore_exc`` of pymemcache let it: an answer that there is nothing counts where the same answer
    brings back what was written just before.

    Raises:
        OSError: it does not bring that back.
    """
    found: dict[str, Any] | None = cache.get(name)
    if found is not None:
        return found
    probe = secrets.token_hex(8)
    count = _PROBES if _has_many_servers(cache) else 2
    probes = {f"django_etp.probe.{probe}.{number}": probe for number in range(count)}
    before, *after = probes  # some caches look for one key after the other
    for _ in range(_TRIES):
        cache.set_many(probes, 60)
        answer = cache.get_many([before, name, *after])
        found = answer.pop(name, None)
        if found is not None or answer == probes:
            cache.delete_many(probes)
            return found
        time.sleep(_PAUSE)
    raise OSError("The sessions' cache does not bring back what is written to it: it seems to be out of reach.")


def _has_many_servers(cache: Any) -> bool:
    servers = getattr(cache, "_servers", None) or getattr(cache, "_server", None)  # of Django; of django-redis
    return isinstance(servers, list | tuple) and len(servers) > 1


def _has_file(store: FileStore, key: str) -> bool:
    """Return whether there is a session's file.

    Raises:
        OSError: nobody can tell now, as where the directory is gone.
    """
    try:
        os.stat(store._key_to_file(key))  # type: ignore[attr-defined]
    except SuspiciousOperation:  # no key of Django's
        return False
    except FileNotFoundError:
        os.stat(store.storage_path)
        return False
    return True


def _content(store: SessionBase) -> dict[str, Any]:
    return cast(dict[str, Any], store._session)  # type: ignore[attr-defined]


@lru_cache(maxsize=1)
def _engine() -> type[SessionBase]:
    store: type[SessionBase] = import_module(settings.SESSION_ENGINE).SessionStore
    return store


@lru_cache(maxsize=1)
def _model() -> "type[AbstractBaseSession] | None":
    """Return the model whose rows are the sessions; ``None`` where the engine keeps them elsewhere.

    Some engines derive from none of Django's, as that of django-user-sessions: they name the model as Django's does.
    """
    engine = _engine()
    if issubclass(engine, CacheStore | FileStore | CookieStore):
        return None
    if issubclass(engine, DatabaseStore):
        return engine.get_model_class()
    model = getattr(sys.modules[engine.__module__], "Session", None)
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        return None
    fields = {field.name for field in model._meta.get_fields()}
    return model if fields >= _FIELDS else None  # type: ignore[return-value]


@receiver(setting_changed)
def _forget_engine(*, setting: str, **_: object) -> None:
    if setting == "SESSION_ENGINE":
        _engine.cache_clear()
        _model.cache_clear()
