"""The members of a room with presence, as a client knows them: a live map.

Rules kept here:

- The answer to a join replaces all entries; the events after it change them.
- In a crowded room the server sends the number of entries alone. The map is empty then.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["Members"]

_Entry = dict[str, Any]


class Members:
    """The entries of one room.

    Attributes:
        entries: the entries by their keys; it changes.
    """

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._count: int | None = None
        self.entries: Mapping[str, _Entry] = MappingProxyType(self._entries)

    @property
    def count(self) -> int:
        """The number of entries of the room."""
        return len(self._entries) if self._count is None else self._count

    def replace(self, answer: Mapping[str, Any]) -> bool:
        """Take the entries of the answer to a join; return whether the room has presence."""
        self.clear()
        if not isinstance(answer.get("members"), list):
            return False
        self.change({"count": answer["count"]} if "count" in answer else {"joined": answer["members"]})
        return True

    def change(self, change: Mapping[str, Any]) -> None:
        """Apply the data of an event about the members."""
        count = change.get("count")
        self._count = count if isinstance(count, int) else None
        if self._count is not None:
            self._entries.clear()
        for entry in (*_listed(change, "joined"), *_listed(change, "changed")):
            if isinstance(entry, dict) and isinstance(key := entry.get("key"), str):
                self._entries[key] = entry
        for key in _listed(change, "left"):
            if isinstance(key, str):
                self._entries.pop(key, None)

    def clear(self) -> None:
        """Forget all entries: the client is not in the room any more."""
        self._entries.clear()
        self._count = None


def _listed(change: Mapping[str, Any], name: str) -> list[Any]:
    value = change.get(name)
    return value if isinstance(value, list) else []
