"""Load a stored session of an engine without rows; distinguish one that is gone from a store that is out of reach.

Django's ``cache`` and ``file`` engines return an empty session in both cases. Here a cache counts as reachable if it
returns what was just written to it, and a file as missing if its directory exists.
"""

import os
import secrets
import time
from collections.abc import Iterable
from typing import Any, cast

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheStore
from django.contrib.sessions.backends.file import SessionStore as FileStore
from django.core.exceptions import SuspiciousOperation

from .engine import store_class

__all__ = ["load_all", "load_content"]

# One of a cache's several servers may be down: this many keys are likely to reach all of them.
_PROBES = 16
# A replica may lag behind: a cache is asked this often, with a pause in seconds in between.
_TRIES = 3
_PAUSE = 0.1


def load_all(session_keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the content of each session that still exists, by key. See load_content()."""
    loaded = {key: load_content(store_class()(key)) for key in session_keys}
    return {key: content for key, content in loaded.items() if content is not None}


def load_content(store: SessionBase) -> dict[str, Any] | None:
    """Load a store's session; return its content, or ``None`` if the session is gone.

    Raises:
        Exception: the store is out of reach: an ``OSError``, or what the cache raises.
    """
    key = store.session_key
    if isinstance(store, CacheStore):
        found = _from_cache(store._cache, store.cache_key)  # type: ignore[attr-defined]
        store._session_cache = found  # type: ignore[attr-defined]
        return found
    content = cast(dict[str, Any], store._session)  # type: ignore[attr-defined]
    if store.session_key == key:
        return content
    if isinstance(store, FileStore) and key is not None and _has_file(store, key):
        raise OSError("The file of a stored session exists, but cannot be read.")
    # Some engines make a new session in place of one that is gone.
    if store.session_key is not None:
        store.delete()
    return None


def _from_cache(cache: Any, name: str) -> dict[str, Any] | None:
    """Return the value in a cache, or ``None`` if it has none.

    A cache that is out of reach may answer like an empty one: the settings ``IGNORE_EXCEPTIONS`` of django-redis and
    ``ignore_exc`` of pymemcache allow that. So an empty answer counts only if the same answer returns the probes, which
    were written just before.

    Raises:
        OSError: the probes did not come back.
    """
    found: dict[str, Any] | None = cache.get(name)
    if found is not None:
        return found
    probe = secrets.token_hex(8)
    servers = getattr(cache, "_servers", None) or getattr(cache, "_server", None)  # Django's caches; django-redis
    has_many_servers = isinstance(servers, list | tuple) and len(servers) > 1
    probes = {f"django_etp.probe.{probe}.{number}": probe for number in range(_PROBES if has_many_servers else 2)}
    before, *after = probes  # some caches look up one key after the other
    for _ in range(_TRIES):
        cache.set_many(probes, 60)
        answer = cache.get_many([before, name, *after])
        found = answer.pop(name, None)
        if found is not None or answer == probes:
            cache.delete_many(probes)
            return found
        time.sleep(_PAUSE)
    raise OSError("The cache of the sessions does not return what is written to it. It seems to be out of reach.")


def _has_file(store: FileStore, key: str) -> bool:
    """Return whether a session's file exists.

    Raises:
        OSError: the directory is missing, or cannot be read.
    """
    try:
        os.stat(store._key_to_file(key))  # type: ignore[attr-defined]
    except SuspiciousOperation:  # not a key of Django's
        return False
    except FileNotFoundError:
        os.stat(store.storage_path)
        return False
    return True
