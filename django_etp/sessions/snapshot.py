"""Find what handlers change in a loaded session: compare its content with an earlier copy."""

import copy
from typing import Any

from django.contrib.sessions.backends.base import SessionBase

from .content import DATA_KEY, EXPIRY_KEY
from .loaded import loaded_content

__all__ = ["Changes", "Snapshot", "apply_changes"]

# New values by key. _REMOVED stands for a key that was deleted.
Changes = dict[str, Any]

_REMOVED = object()
# A plain handler's thread may change a value while it is copied.
_TRIES = 100


class Snapshot:
    """A copy of a session's loaded content, to compare with later.

    The data of connections is left out: it has its own copy.

    Args:
        session: a session that is loaded.
        is_empty: start from nothing, so that all of the session's content counts as changed.
    """

    __slots__ = ("_content", "_session")

    def __init__(self, session: SessionBase, *, is_empty: bool = False) -> None:
        self._session = session
        self._content: dict[str, Any] = {}
        if not is_empty:
            content = loaded_content(session)
            self._content = _copied(content)
            _mark_expiry(content)

    def changes(self) -> Changes:
        """Return what changed since the copy, or since update().

        Raises:
            TypeError: the session's serializer cannot hold a value. The key is then again as it was at the last write:
                it would fail every later write, too.
        """
        now, before = loaded_content(self._session), self._content
        changes: Changes = {}
        for key in {*now, *before} - {DATA_KEY}:
            value = now.get(key, _REMOVED)
            if value is _REMOVED:
                changes[key] = _REMOVED
                continue
            try:
                if key not in before or value != before[key] or (key == EXPIRY_KEY and type(value) is int):
                    changes[key] = _copied(value)
                    self._session.serializer().dumps({key: changes[key]})
            except Exception as error:  # serializers, and values that cannot be copied, raise errors of any kind
                if key in before:
                    now[key] = copy.deepcopy(before[key])
                else:
                    now.pop(key, None)
                raise TypeError(
                    f"connection.session[{key!r:.80}] must be a value that SESSION_SERIALIZER can hold, "
                    f"got {type(value).__name__}: {error}. The key is again as it was at the last write."
                ) from error
        return changes

    def update(self, written: Changes) -> None:
        """Record that changes were written."""
        apply_changes(self._content, written)
        if EXPIRY_KEY in written:
            _mark_expiry(loaded_content(self._session))


def apply_changes(content: dict[str, Any], changes: Changes) -> None:
    """Make changes in a session's content."""
    for key, value in changes.items():
        if value is _REMOVED:
            content.pop(key, None)
        else:
            content[key] = value


class _Expiry(int):
    """An expiry that is stored already. set_expiry() replaces it with a plain int, maybe of the same number."""

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return int, (int(self),)  # a copy, or one that a cache pickles, is a plain int


def _mark_expiry(content: dict[str, Any]) -> None:
    if type(expiry := content.get(EXPIRY_KEY)) is int:
        content[EXPIRY_KEY] = _Expiry(expiry)


def _copied(value: Any) -> Any:
    for _ in range(_TRIES):
        try:
            return copy.deepcopy(value)
        except RecursionError:
            break
        except RuntimeError:
            continue
    return copy.deepcopy(value)
