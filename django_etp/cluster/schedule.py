"""Keys in the order of the times at which something is due for them.

Rules kept here:

- A key has one time: the earliest that it was given since it was last taken. If the work turns out to be due later, the
  owner gives the key its new time once it has taken it.
- To give a time and to take a key cost the same whatever the number of keys, but for the logarithm of a heap.

No clock: callers pass the time.
"""

from collections.abc import Iterator
from heapq import heappop, heappush
from math import inf

__all__ = ["Schedule"]


class Schedule:
    """Keys, each with the time at which it is due."""

    __slots__ = ("_heap", "_times")

    def __init__(self) -> None:
        self._times: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # with those that were given an earlier time, or were removed

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[str]:
        return iter(self._times)

    def __contains__(self, key: str) -> bool:
        return key in self._times

    def add(self, key: str, due_at: float) -> None:
        """Give a key a time, unless it has an earlier one."""
        if due_at < self._times.get(key, inf):
            self._times[key] = due_at
            heappush(self._heap, (due_at, key))

    def remove(self, key: str) -> None:
        """Remove a key, which may have no time."""
        self._times.pop(key, None)

    def take(self, now: float) -> str | None:
        """Remove the key that has been due for the longest time, and return it; ``None`` if none is due."""
        while self._heap and self._heap[0][0] <= now:
            due_at, key = heappop(self._heap)
            if self._times.get(key) == due_at:
                del self._times[key]
                return key
        return None
