"""Remove the events of histories in a database that are too many or too old, and rooms that are not used any more.

Rules kept here:

- A room's old events are removed by the transactions that append to it, and once it is silent by any process that
  appends to another room, once a minute.
- A room that was silent for a day longer than its events last is removed.
- Rooms that another transaction has locked are left for the next time, so that nothing waits.
"""

import logging
import time

from django.db import Error as DatabaseError
from django.db import connections, transaction
from django.db.models import F, Q, QuerySet

from .models import HistoryDurableEvent, HistoryEvent, HistoryRoom
from .store import KEEP_SECONDS, REMEMBERED

__all__ = ["Pruning", "prune_room"]

logger = logging.getLogger(__name__)

_EVERY = 60.0
_ROOMS_AT_ONCE = 200
_KEEP = KEEP_SECONDS * 1000


class Pruning:
    """The removal of what is too old in one database.

    Args:
        using: the alias of the database.
    """

    def __init__(self, using: str) -> None:
        self._using = using
        self._due_at = 0.0

    def prune(self, now: int) -> None:
        """Remove what is too old at a time, in milliseconds since 1970, if a minute has passed since the last call."""
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + _EVERY
        try:
            with transaction.atomic(using=self._using):
                if self._prune_due(now) == _ROOMS_AT_ONCE:
                    self._due_at = 0.0  # there may be more
        except DatabaseError as error:  # as a lock in SQLite
            logger.info("Old events of the history in the database %r could not be removed: %r", self._using, error)

    def _prune_due(self, now: int) -> int:
        rooms = HistoryRoom.objects.using(self._using).filter(prune_at__lte=now)
        if (features := connections[self._using].features).has_select_for_update:
            rooms = rooms.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
        due = [room.pk for room in rooms.order_by("prune_at")[:_ROOMS_AT_ONCE]]
        if due:
            self._prune_rooms(HistoryRoom.objects.using(self._using).filter(pk__in=due), now)
        return len(due)

    def _prune_rooms(self, rooms: QuerySet[HistoryRoom], now: int) -> None:
        ends_at = F("at") + F("lifetime")
        is_silent = Q(at__lte=now - F("lifetime"))
        silent = rooms.filter(is_silent)
        HistoryEvent.objects.using(self._using).filter(room__in=list(silent)).delete()
        silent.filter(at__lte=now - F("lifetime") - _KEEP).delete()
        rooms.filter(~is_silent).update(prune_at=ends_at)
        rooms.filter(is_silent).update(prune_at=ends_at + _KEEP + 1)


def prune_room(using: str, room: HistoryRoom, last: int, earliest: int) -> None:
    """Remove the events of a room up to the number ``last``, and those from before a time in milliseconds.

    The caller has the lock of the room.
    """
    HistoryEvent.objects.using(using).filter(Q(number__lte=last) | Q(at__lt=earliest), room=room).delete()
    forgotten = HistoryDurableEvent.objects.using(using).filter(room=room, number__lte=room.number - REMEMBERED)
    forgotten.delete()
