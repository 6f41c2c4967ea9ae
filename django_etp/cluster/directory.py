"""The other nodes, as one node knows them from their heartbeats.

Rules kept here:

- A node whose heartbeats fail to come for three intervals is gone; one that announces its end is gone at once.
- Nodes that are gone are remembered for a while, since others may still name them.
- Only nodes with connections are queried. A node whose heartbeat is late is probably dead, if it was not paused.
- A heartbeat that a later one has overtaken counts for nothing. If two such come a second apart, in their order, none
  was overtaken: the later one was forged, and they count.
- At most 2,000 nodes are known, and as many that are gone: heartbeats may be forged.

No clock and no layer: callers pass the time.
"""

import logging
from dataclasses import dataclass

from .messages import MAX_INTERVAL, Beat

__all__ = ["Directory", "beat_interval"]

logger = logging.getLogger(__name__)

_MISSED_BEATS = 3
# How long after it was due a heartbeat is late, in seconds.
_LATE = 1.0
_REMEMBERED_FOR = 600.0
_MOST = 2000
# Heartbeats that were overtaken arrive together; those of a living node come at least this far apart, in seconds.
_APART = 1.0


def beat_interval(nodes: int) -> float:
    """Return the time between two heartbeats of a node, in seconds, on a site with this many nodes."""
    return min(max(2.0, 0.1 * nodes), MAX_INTERVAL)


@dataclass(slots=True)
class _Entry:
    beat: Beat  # the last one
    received_at: float


@dataclass(slots=True)
class _Gone:
    at: float
    last_number: int
    has_expired: bool


class Directory:
    """The other nodes, each named by its hub's id."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._gone: dict[str, _Gone] = {}
        # Of those whose last heartbeat seems to have been overtaken: its number, and when it arrived.
        self._overtaken: dict[str, tuple[int, float]] = {}
        self._is_full = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def serving(self) -> frozenset[str]:
        """The ids of those that have connections."""
        return frozenset(id for id, entry in self._entries.items() if entry.beat.is_serving)

    def knows(self, id: str) -> bool:
        """Whether a node lives, as far as this one knows."""
        return id in self._entries

    def is_gone(self, id: str) -> bool:
        """Whether a node went lately, and sent no heartbeat since."""
        return id in self._gone

    def unheard_of(self, ids: frozenset[str]) -> frozenset[str]:
        """Return those of these ids whose nodes have sent no heartbeat here, not even a last one."""
        return frozenset(id for id in ids if id not in self._entries and id not in self._gone)

    def record(self, beat: Beat, now: float) -> bool:
        """Record a heartbeat, which may be the last one; return whether its sender had expired.

        A heartbeat that a later one has overtaken counts for nothing.
        """
        entry, gone = self._entries.get(beat.hub), self._gone.get(beat.hub)
        known = entry.beat.number if entry else gone.last_number if gone else -1
        if beat.number <= known and not self._disproves(beat, now):
            return False
        self._overtaken.pop(beat.hub, None)
        if beat.is_last:
            self._entries.pop(beat.hub, None)
            self._remember(beat, now, has_expired=False)
            return False
        if entry is None and len(self._entries) >= _MOST:
            if not self._is_full:
                self._is_full = True
                logger.error(
                    "More than %s processes sent heartbeats on the channel layer; the others are ignored. Does another "
                    "program write to the broker?",
                    f"{_MOST:,}",
                )
            return False
        self._entries[beat.hub] = _Entry(beat, now)
        self._gone.pop(beat.hub, None)
        return gone is not None and gone.has_expired

    def late(self, now: float) -> frozenset[str]:
        """Return the ids of those with connections whose heartbeat was due more than a second ago."""
        return frozenset(
            id
            for id, entry in self._entries.items()
            if entry.beat.is_serving and now - entry.received_at > entry.beat.interval + _LATE
        )

    def restart(self, now: float) -> None:
        """Give all of them their full time again: this process itself received nothing for a while."""
        for entry in self._entries.values():
            entry.received_at = now

    def expire(self, now: float) -> list[Beat]:
        """Forget the nodes that missed three heartbeats, and return their last ones."""
        expired = [
            entry.beat
            for entry in self._entries.values()
            if now - entry.received_at > _MISSED_BEATS * entry.beat.interval
        ]
        for beat in expired:
            del self._entries[beat.hub]
            self._remember(beat, now, has_expired=True)
        for id in [id for id, gone in self._gone.items() if now - gone.at > _REMEMBERED_FOR]:
            del self._gone[id]
        for id in [id for id, (_, at) in self._overtaken.items() if now - at > _REMEMBERED_FOR]:
            del self._overtaken[id]
        return expired

    def _disproves(self, beat: Beat, now: float) -> bool:
        """Return whether a heartbeat with a lower number than the last shows that the last was not its node's own."""
        number, at = self._overtaken.get(beat.hub, (-1, now))
        if number < 0 or beat.number <= number:
            self._overtaken.setdefault(beat.hub, (beat.number, now))
            return False
        return now - at >= _APART

    def _remember(self, beat: Beat, now: float, *, has_expired: bool) -> None:
        self._gone.pop(beat.hub, None)
        self._gone[beat.hub] = _Gone(now, beat.number, has_expired)
        if len(self._gone) > _MOST:
            del self._gone[next(iter(self._gone))]
