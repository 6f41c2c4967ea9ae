"""Limit the reports of failures that one connection can cause as often as it likes."""

import math
import time

from django.core.exceptions import PermissionDenied

from django_etp.exceptions import AckTimeout, ConnectionClosed, EventFailed, InvalidFrame, InvalidPayload

__all__ = ["Repeats", "is_limited"]

# In seconds.
_INTERVAL = 60.0
_LIMITED = (AckTimeout, ConnectionClosed, EventFailed, InvalidFrame, InvalidPayload, PermissionDenied)


def is_limited(error: BaseException) -> bool:
    """Return whether the peer causes such an error, so that reports of it are limited."""
    return isinstance(error, _LIMITED) and not (isinstance(error, InvalidPayload) and error.is_outgoing)


class Repeats:
    """The limited failures of one connection: one report for each class of error and minute, the others counted."""

    __slots__ = ("_kinds",)

    def __init__(self) -> None:
        # When each kind was last reported, and how many have followed unreported.
        self._kinds: dict[str, tuple[float, int]] = {}

    def admit(self, error: BaseException) -> int | None:
        """Return how many went unreported before this error, or ``None`` if it is to be counted only."""
        now, kind = time.monotonic(), type(error).__name__
        reported_at, count = self._kinds.get(kind, (-math.inf, 0))
        if now - reported_at < _INTERVAL:
            self._kinds[kind] = (reported_at, count + 1)
            return None
        self._kinds[kind] = (now, 0)
        return count

    def take(self) -> dict[str, int]:
        """Return how many of each kind went unreported, and count from 0 again."""
        counts = {kind: count for kind, (_, count) in self._kinds.items() if count}
        for kind in counts:
            self._kinds[kind] = (self._kinds[kind][0], 0)
        return counts
