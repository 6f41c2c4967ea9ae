"""Which other hubs live: those heard of lately.

Rules kept here:

- A hub that missed three heartbeats is gone; one that said goodbye is gone at once.
- Of those gone a memory is kept for a while, since others may still name them.
- Only hubs that have connections are asked.

No clock and no layer: callers pass the time.
"""

from dataclasses import dataclass

from .messages import MAX_INTERVAL, Beat

__all__ = ["Directory", "Entry", "beat_interval"]

_MISSED_BEATS = 3
_REMEMBERED_FOR = 60.0


def beat_interval(hubs: int) -> float:
    """Return how often a hub should say that it lives, in seconds, where there are so many of them."""
    return min(max(2.0, 0.1 * hubs), MAX_INTERVAL)


@dataclass(slots=True)
class Entry:
    """Another hub, as it told of itself last.

    Attributes:
        beat: its last sign of life.
        heard_at: when that came.
    """

    beat: Beat
    heard_at: float


@dataclass(slots=True)
class _Gone:
    at: float
    last_number: int
    was_expired: bool


class Directory:
    """The other hubs, as one hub knows them."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._gone: dict[str, _Gone] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def serving(self) -> frozenset[str]:
        """The ids of those that have connections."""
        return frozenset(id for id, entry in self._entries.items() if entry.beat.is_serving)

    def is_gone(self, id: str) -> bool:
        """Whether a hub went lately, and was not heard of since."""
        return id in self._gone

    def record(self, beat: Beat, now: float) -> bool:
        """Take note of a sign of life, or of an end; return whether its sender had expired.

        What was overtaken by a later one counts for nothing.
        """
        entry, gone = self._entries.get(beat.hub), self._gone.get(beat.hub)
        known = entry.beat.number if entry else gone.last_number if gone else -1
        if beat.number <= known:
            return False
        if beat.is_last:
            self._entries.pop(beat.hub, None)
            self._gone[beat.hub] = _Gone(now, beat.number, was_expired=False)
            return False
        self._entries[beat.hub] = Entry(beat, now)
        self._gone.pop(beat.hub, None)
        return gone is not None and gone.was_expired

    def restart(self, now: float) -> None:
        """Give all of them their full time again: this process itself heard nothing for a while."""
        for entry in self._entries.values():
            entry.heard_at = now

    def expire(self, now: float) -> list[Beat]:
        """Forget those that missed three heartbeats, and return their last ones."""
        expired = [
            entry.beat for entry in self._entries.values() if now - entry.heard_at > _MISSED_BEATS * entry.beat.interval
        ]
        for beat in expired:
            del self._entries[beat.hub]
            self._gone[beat.hub] = _Gone(now, beat.number, was_expired=True)
        for id in [id for id, gone in self._gone.items() if now - gone.at > _REMEMBERED_FOR]:
            del self._gone[id]
        return expired
