"""Remember the last numbers of streams whose publishers may not be able to repeat them.

Rules kept here:

- A number is remembered for a day. Past 10,000 streams the one that was recorded first is forgotten.
- The age of a stream counts from the moment when its publisher measured it.

No clock and no layer: callers pass the time.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

__all__ = ["Ledger", "Told"]

_MOST = 10_000
_REMEMBERED_FOR = 86_400.0


class Told(NamedTuple):
    """The last number of one stream, as it is announced.

    Attributes:
        stream: group, stream, born, last number, frames in all. See Numbers.
        age: for how many seconds the stream has existed.
    """

    stream: list[Any]
    age: float


class _Entry(NamedTuple):
    stream: list[Any]
    began_at: float
    active_at: float


class Ledger:
    """The last numbers of streams."""

    def __init__(self) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._names: dict[str, set[str]] = {}  # of the streams to each group

    def record(self, told: Told, now: float, active_at: float) -> None:
        """Record the last number of a stream; its last message was sent at ``active_at`` or before.

        A number that was recorded before changes nothing.
        """
        group, name, _, last, _ = told.stream
        if (known := self._entries.get(name)) and known.stream[3] == last:
            return
        self._forget(name)
        self._entries[name] = _Entry(told.stream, now - told.age, active_at)
        self._names.setdefault(group, set()).add(name)
        if len(self._entries) > _MOST:
            self._forget(next(iter(self._entries)))

    def recall(
        self, groups: Collection[str], since: float, now: float, *, unchanged_for: float = 0.0
    ) -> Iterator[Told]:
        """Return the numbers of streams to these groups, or to all if there are none, that were active ``since``.

        With ``unchanged_for``, those that were recorded later than so many seconds ago are left out.
        """
        names = (name for group in groups for name in self._names.get(group, ()))
        for name in names if groups else self._entries:
            stream, began_at, active_at = self._entries[name]
            if since <= active_at <= now - unchanged_for:
                yield Told(stream, now - began_at)

    def names(self, group: str) -> frozenset[str]:
        """Return the streams to a group of which a number was recorded."""
        return frozenset(self._names.get(group, ()))

    def forget_old(self, now: float) -> None:
        """Forget the streams that were recorded long ago."""
        while self._entries and self._entries[name := next(iter(self._entries))].active_at < now - _REMEMBERED_FOR:
            self._forget(name)

    def _forget(self, name: str) -> None:
        if entry := self._entries.pop(name, None):
            group = entry.stream[0]
            self._names[group].discard(name)
            if not self._names[group]:
                del self._names[group]
