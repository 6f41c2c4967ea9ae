"""Limit the reports of failures of one connection, since its client can cause them as often as it likes.

Rules kept here:

- Each kind of failure is reported once a minute. Those that follow are counted, and one line logs their number.
- A kind is a class of error and the code that the error has passed, so that two bugs are two kinds. All malformed
  frames are one kind, and so is all data that does not fit the type of one event.
- At most 8 kinds that a client causes are reported in a minute, and 8 others, so that no client hides a bug.
"""

import asyncio
import logging
import traceback
from collections import Counter
from collections.abc import Hashable
from itertools import islice

from django.core.exceptions import PermissionDenied

from django_etp.exceptions import AckTimeout, ConnectionClosed, EventFailed, InvalidFrame, InvalidPayload, TooManyRooms

from .current import running_event

__all__ = ["Repeats"]

logger = logging.getLogger(__name__)

# In seconds.
_INTERVAL = 60.0
# Of those that the client causes, and of the others.
_MOST_KINDS = 8
_CAUSED_BY_CLIENT = (
    AckTimeout,
    ConnectionClosed,
    EventFailed,
    InvalidFrame,
    InvalidPayload,
    PermissionDenied,
    TooManyRooms,
)
# The outermost calls distinguish two bugs; a recursion may have any depth.
_CALLS = 50


class Repeats:
    """The failures of one connection within a minute."""

    __slots__ = ("_connection_id", "_kinds", "_timer", "_unreported")

    def __init__(self, connection_id: str) -> None:
        self._connection_id = connection_id
        self._kinds: tuple[set[Hashable], set[Hashable]] = (set(), set())  # bugs, and what the client causes
        self._unreported: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None  # while the minute lasts

    def admit(self, error: BaseException) -> bool:
        """Return whether to report a failure; count it if not."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_INTERVAL, self.end)
        kind, kinds = _kind_of(error), self._kinds[_is_caused_by_client(error)]
        if kind in kinds or len(kinds) >= _MOST_KINDS:
            self._unreported[type(error).__name__] += 1
            return False
        kinds.add(kind)
        return True

    def end(self) -> None:
        """Log how many failures were not reported, and report each kind again: the minute or the connection ends."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unreported:
            logger.warning(
                "Connection %s had %s more failures, which were not reported; each kind is reported once a minute: %s.",
                self._connection_id,
                f"{self._unreported.total():,}",
                ", ".join(f"{count:,} {name}" for name, count in self._unreported.most_common()),
            )
        for kinds in self._kinds:
            kinds.clear()
        self._unreported.clear()


def _is_caused_by_client(error: BaseException) -> bool:
    return isinstance(error, _CAUSED_BY_CLIENT) and not (isinstance(error, InvalidPayload) and error.is_outgoing)


def _kind_of(error: BaseException) -> Hashable:
    if isinstance(error, InvalidFrame):
        return InvalidFrame
    if isinstance(error, InvalidPayload) and error.errors:
        running = running_event.get()
        return InvalidPayload, running and running[0].name
    calls = islice(traceback.walk_tb(error.__traceback__), _CALLS)
    return (type(error), *((frame.f_code, line) for frame, line in calls))
