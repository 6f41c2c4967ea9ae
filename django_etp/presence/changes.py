"""The changes of a room that were not announced to its members yet.

Rules kept here:

- A member gets the changes since its mark: those before it are in the answer to its join.
- A user who left and came back between two announcements has changed, or not even that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from .entries import Shown

__all__ = ["Changes", "Difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """The content of one announcement."""

    joined: tuple[Shown, ...] = ()
    changed: tuple[Shown, ...] = ()
    left: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.joined or self.changed or self.left)


class Changes:
    """The changes since the last announcement, in their order."""

    __slots__ = ("_log",)

    def __init__(self) -> None:
        self._log: list[tuple[str, Shown | None]] = []

    @property
    def mark(self) -> int:
        """The mark of a member that knows all changes until now."""
        return len(self._log)

    def record(self, key: str, before: Shown | None) -> None:
        """Record a change of a key, which showed ``before`` until now."""
        self._log.append((key, before))

    def clear(self) -> None:
        """Begin anew: all changes were announced."""
        self._log.clear()

    def since(self, mark: int, now: Mapping[str, Shown]) -> Difference:
        """Return the changes since a mark; ``now`` are the entries that the room shows now."""
        before: dict[str, Shown | None] = {}
        for key, shown in self._log[mark:]:
            before.setdefault(key, shown)
        joined, changed, left = [], [], []
        for key, old in before.items():
            new = now.get(key)
            if new is None:
                if old is not None:
                    left.append(key)
            elif old is None:
                joined.append(new)
            elif new != old:
                changed.append(new)
        return Difference(tuple(joined), tuple(changed), tuple(left))
