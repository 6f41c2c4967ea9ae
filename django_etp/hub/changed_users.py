"""Users who have changed since their connections were opened.

A connection keeps its user as of the handshake. A user who has changed is loaded anew before a rule is asked.

Rules kept here:

- A user is kept while connections of the user are here, and for a minute in any case: the handshake of a connection may
  have loaded the user before the change, and is not here yet.
"""

from collections.abc import Callable

__all__ = ["ChangedUsers"]

_KEPT_FOR = 60.0  # seconds
_MANY = 1000


class ChangedUsers:
    """The users of one hub who have changed.

    Args:
        has_connections: returns whether connections of a user are here.
    """

    __slots__ = ("_changed_at", "_has_connections", "_tidy_at")

    def __init__(self, has_connections: Callable[[str], bool]) -> None:
        self._has_connections = has_connections
        self._changed_at: dict[str, float] = {}
        self._tidy_at = _MANY

    def __contains__(self, user_id: object) -> bool:
        return bool(self._changed_at) and str(user_id) in self._changed_at

    def add(self, user_id: str, now: float) -> None:
        """Record that a user has changed; ``now`` is a time in seconds."""
        self._changed_at[user_id] = now
        if len(self._changed_at) >= self._tidy_at:
            self._changed_at = {
                id: at for id, at in self._changed_at.items() if now - at < _KEPT_FOR or self._has_connections(id)
            }
            self._tidy_at = max(_MANY, 2 * len(self._changed_at))
