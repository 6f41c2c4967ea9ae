"""Choose the events that a relay sends together.

Rules kept here:

- Events of one room go in the order of their ids. Those of one wave fit into one message of the channel layer, so that
  all of them arrive or none, and no event overtakes one that has to be sent again.
- An event to several rooms, and one that failed before, goes without others to its rooms.
- While a failed event pauses, later events of the same sender to one of its rooms wait. Events of others do not.
- If a room's events are refused together, fewer of them go together, so that the refused one is found.
"""

from collections.abc import Iterable
from datetime import datetime

from .models import OutboxEvent

__all__ = ["Place", "Wave", "Windows"]

# A room, by its namespace and its name.
Place = tuple[str, str]

# The limits of what goes to one room, well below those of a message, and of a wave.
_ROOM_EVENTS = 250
_ROOM_BYTES = 128 * 1024
_WAVE_EVENTS = 1000
_WAVE_BYTES = 4 * 1024 * 1024


class Windows:
    """How many events may go to a room together, if events of the room were refused lately."""

    def __init__(self) -> None:
        self._sizes: dict[Place, int] = {}

    def size(self, place: Place) -> int:
        """Return how many events may go to a room together."""
        return self._sizes.get(place, _ROOM_EVENTS)

    def shrink(self, place: Place, count: int) -> None:
        """Record that so many events were refused together."""
        self._sizes[place] = max(1, count // 8)

    def grow(self, place: Place) -> None:
        """Record that what was sent to a room was taken."""
        if place in self._sizes:
            self._sizes[place] *= 2
            if self._sizes[place] >= _ROOM_EVENTS:
                del self._sizes[place]


class Wave:
    """Events that are sent together.

    Args:
        now: the time; failed events that pause longer wait.
        windows: how many events may go to a room together.

    Attributes:
        events: the chosen events, in order.
        counts: how many of these go to each room.
        waiting: the senders and rooms, in the form of the table, whose events wait behind a failed one.
        retry_at: when the first of the failed events may be sent again.
        is_cut_off: more events may be stored than were read.
    """

    def __init__(self, now: datetime, windows: Windows) -> None:
        self.events: list[OutboxEvent] = []
        self.counts: dict[Place, int] = {}
        self.waiting: set[tuple[str, str]] = set()
        self.retry_at: datetime | None = None
        self.is_cut_off = False
        self._now = now
        self._windows = windows
        self._bytes = 0
        self._room_bytes: dict[Place, int] = {}
        self._closed: set[Place] = set()
        self._held: set[tuple[str, Place]] = set()

    @property
    def is_full(self) -> bool:
        """Whether nothing more can be added."""
        return len(self.events) >= _WAVE_EVENTS or self._bytes >= _WAVE_BYTES

    def again(self) -> "Wave":
        """Return a new wave that waits for the same events. They may be missing among those that are added."""
        wave = Wave(self._now, self._windows)
        wave.waiting, wave.retry_at, wave._held = self.waiting, self.retry_at, self._held
        return wave

    @property
    def has_more(self) -> bool:
        """Whether events are left that can be sent right after this wave."""
        return self.is_full or self.is_cut_off or bool(self._closed)

    def add(self, rows: Iterable[OutboxEvent]) -> None:
        """Choose from the next events, in the order of their ids."""
        for row in rows:
            if self.is_full:
                return
            places: list[Place] = [(row.namespace, room) for room in row.room_names]
            if self._must_wait(row, places):
                self._held.update((row.sender, place) for place in places)
                self.waiting.add((row.sender, row.rooms))
            elif self._fits(row, places):
                self._choose(row, places)
            else:
                self._closed.update(places)

    def _must_wait(self, row: OutboxEvent, places: list[Place]) -> bool:
        if row.retry_at is not None and row.retry_at > self._now:
            self.retry_at = min(row.retry_at, self.retry_at or row.retry_at)
            return True
        return any((row.sender, place) in self._held for place in places)

    def _fits(self, row: OutboxEvent, places: list[Place]) -> bool:
        if not self._closed.isdisjoint(places):
            return False
        if _goes_alone(row, places):
            return self.counts.keys().isdisjoint(places)
        return all(
            self.counts.get(place, 0) < self._windows.size(place)
            and (place not in self.counts or self._room_bytes[place] + _size(row) <= _ROOM_BYTES)
            for place in places
        )

    def _choose(self, row: OutboxEvent, places: list[Place]) -> None:
        self.events.append(row)
        self._bytes += _size(row)
        for place in places:
            self.counts[place] = self.counts.get(place, 0) + 1
            self._room_bytes[place] = self._room_bytes.get(place, 0) + _size(row)
        if _goes_alone(row, places):
            self._closed.update(places)


def _goes_alone(row: OutboxEvent, places: list[Place]) -> bool:
    return len(places) != 1 or row.attempts > 0


def _size(row: OutboxEvent) -> int:
    return len(row.payload) + len(row.event) + len(row.exclude) + len(row.rooms)
