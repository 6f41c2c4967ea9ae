"""Find stored sessions: which exist, and which hold connection data. All functions block."""

from collections.abc import Iterable
from typing import Any

from .content import shares_in
from .engine import living_rows, session_model, store_class
from .loading import load_all

__all__ = ["existing_sessions", "read_shares", "sessions_with_data"]

# Databases limit the parameters of a query: SQLite to 999 before 3.32.
_KEYS_PER_QUERY = 500


def existing_sessions(session_keys: Iterable[str]) -> set[str]:
    """Return the keys of those sessions that exist and have not expired."""
    keys = list(session_keys)
    model = session_model()
    if model is None:
        return set(load_all(keys))
    found: set[str] = set()
    for start in range(0, len(keys), _KEYS_PER_QUERY):
        rows = living_rows(model, session_key__in=keys[start : start + _KEYS_PER_QUERY])
        found.update(rows.values_list("session_key", flat=True))
    return found


def read_shares(session_keys: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the connection data in those sessions that exist, by session key and connection id."""
    keys = list(session_keys)
    store = store_class()()
    contents: dict[str, dict[str, Any]] = {}
    if model := session_model():
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            rows = living_rows(model, session_key__in=keys[start : start + _KEYS_PER_QUERY])
            for key, data in rows.values_list("session_key", "session_data"):
                contents[key] = store.decode(data)
    else:
        contents = load_all(keys)
    return {key: shares_in(content) for key, content in contents.items()}


def sessions_with_data() -> dict[str, set[str]] | None:
    """Return the ids of connections with data in a session, by session key; ``None`` if the engine cannot list."""
    model = session_model()
    if model is None:
        return None
    store = store_class()()
    rows = living_rows(model).values_list("session_key", "session_data").iterator()
    return {key: set(shares) for key, data in rows if (shares := shares_in(store.decode(data)))}
