"""Change stored sessions without losing what others wrote, and without bringing back one that has ended.

Rules kept here:

- Engines with rows, such as ``db`` and ``cached_db``: in one transaction, a no-op ``UPDATE`` locks the row on every
  database, SQLite included; then the row is read, patched and written. If there is no row, or it has expired, the
  session is gone, and nothing is written. Other columns of the row stay. The cache entry is deleted after the commit,
  and never set.
- ``cache`` and ``file`` have no such lock: load, patch, save. A write of another process within that round trip is
  lost. In this process a session has one writer at a time.
- A store that is out of reach is an error, and never the end of a session.

All functions block: they use the database or the cache.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.db import models, router, transaction
from django.db.models import F

from .content import EXPIRY_KEY, MADE_KEY, set_shares, shares_in
from .engine import living_rows, session_model, store_class
from .loading import load_content

__all__ = ["create_session", "discard_session", "patch_session", "remove_data"]

Change = Callable[[dict[str, Any]], None]

# For sessions of engines without a lock of their own; a session's key selects one.
_locks = [threading.Lock() for _ in range(64)]


def patch_session(session_key: str, change: Change, *, prolong: bool = False, is_end: bool = False) -> bool:
    """Apply ``change`` to the content of a stored session as it is now; return whether the session still exists.

    Args:
        prolong: the session expires as late as if it were made now. In a database a change of the expiry has the same
            effect, and no other change prolongs the session.
        is_end: the connection has ended, and the session may have ended before it.
    """
    store = store_class()(session_key)
    if model := session_model():
        # An UPDATE locks SQLite even if it changes no row, and requests that have begun to read then fail.
        if is_end and not living_rows(model, session_key=session_key).exists():
            return False
        return _patch_row(store, model, change, prolong=prolong)
    with _locks[hash(session_key) % len(_locks)]:
        content = load_content(store)
        if content is None:
            return False
        change(content)
        try:
            store.save()
        except UpdateError:
            if load_content(store_class()(session_key)) is not None:
                raise OSError("The session store did not take a change.") from None
            return False
    return True


def create_session(change: Change) -> str | None:
    """Make a new session whose content is what ``change`` puts into it; return its key."""
    store = store_class()()
    content: dict[str, Any] = {}
    change(content)
    for key, value in content.items():
        store[key] = value  # some engines notice what is set, and have a column for it
    store.create()
    return store.session_key


def discard_session(session_key: str) -> None:
    """Delete a session that was made for connection data if it holds nothing any more."""
    store = store_class()(session_key)
    if model := session_model():
        with transaction.atomic(using=router.db_for_write(model)):
            row = living_rows(model, session_key=session_key)
            if not row.update(expire_date=F("expire_date")):
                return
            if store.decode(row.values_list("session_data", flat=True).get()).keys() == {MADE_KEY}:
                row.delete()
        _delete_cached(store)
        return
    with _locks[hash(session_key) % len(_locks)]:
        content = load_content(store)
        if content is not None and content.keys() == {MADE_KEY}:
            store.delete()


def remove_data(session_key: str, connection_ids: Iterable[str]) -> bool:
    """Remove the data of connections from a stored session; return whether the session still exists."""
    removed = frozenset(connection_ids)

    def remove(content: dict[str, Any]) -> None:
        set_shares(content, {id: share for id, share in shares_in(content).items() if id not in removed})

    return patch_session(session_key, remove)


def _patch_row(store: SessionBase, model: type[models.Model], change: Change, *, prolong: bool) -> bool:
    key = store.session_key
    using = router.db_for_write(model)
    with transaction.atomic(using=using):
        if not living_rows(model, session_key=key).update(expire_date=F("expire_date")):
            return False
        row = model._base_manager.using(using).filter(session_key=key)
        content = store.decode(row.values_list("session_data", flat=True).get())
        expiry = content.get(EXPIRY_KEY)
        change(content)
        changed: dict[str, Any] = {"session_data": store.encode(content)}
        if prolong or content.get(EXPIRY_KEY) != expiry:  # set_expiry() was called; no other change prolongs it
            changed["expire_date"] = store.get_expiry_date(expiry=content.get(EXPIRY_KEY))
        row.update(**changed)
    _delete_cached(store)
    return True


def _delete_cached(store: SessionBase) -> None:
    if (cache := getattr(store, "_cache", None)) is not None:
        cache.delete(f"{store.cache_key_prefix}{store.session_key}")  # type: ignore[attr-defined]
