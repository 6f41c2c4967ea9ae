"""Which other hubs live: those heard of lately.

No clock and no layer: callers pass the time.
"""

from dataclasses import dataclass

from .envelope import MAX_INTERVAL, Beat

__all__ = ["Peers", "beat_interval"]

_MISSED_BEATS = 3


@dataclass(slots=True)
class _Peer:
    channels: tuple[str, str]
    interval: float
    heard_at: float


def beat_interval(hubs: int) -> float:
    """Return how often a hub should say that it lives, in seconds, where there are so many of them."""
    return min(max(2.0, 0.1 * hubs), MAX_INTERVAL)


class Peers:
    """The other hubs, as one hub knows them."""

    def __init__(self) -> None:
        self._peers: dict[str, _Peer] = {}

    def __len__(self) -> int:
        return len(self._peers)

    @property
    def ids(self) -> frozenset[str]:
        """Their ids."""
        return frozenset(self._peers)

    def hear(self, beat: Beat, now: float) -> None:
        """Take note of a sign of life, or of an end."""
        if beat.is_last:
            self._peers.pop(beat.hub, None)
        else:
            self._peers[beat.hub] = _Peer((beat.channel, beat.control_channel), beat.interval, now)

    def restart(self, now: float) -> None:
        """Give all of them their full time again: this process itself was paused, and heard nothing."""
        for peer in self._peers.values():
            peer.heard_at = now

    def expire(self, now: float) -> list[tuple[str, tuple[str, str]]]:
        """Forget those that missed three heartbeats; return their ids, and their channels for traffic and control."""
        gone = [
            (id, peer.channels)
            for id, peer in self._peers.items()
            if now - peer.heard_at > _MISSED_BEATS * peer.interval
        ]
        for id, _ in gone:
            del self._peers[id]
        return gone
