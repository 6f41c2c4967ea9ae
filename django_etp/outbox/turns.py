"""Let one relay at a time send the events of a database.

Rules kept here:

- One row names the relay whose turn it is, and when the turn ends. The relay prolongs it every second. If the relay
  dies, another one takes over within 3 s. The database's own clock counts.
- If the database has row locks, the relay locks the row while it works, so that no other takes over meanwhile. SQLite
  has none. Two relays may work there at once if one of them was stopped for longer than its turn. They send the same
  events in the same order, and processes drop what they have had.
- The lock is not kept between two rounds: a transaction that stays open keeps PostgreSQL from cleaning its tables.
"""

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django.db import connections, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from .models import RelayTurn

__all__ = ["Turn"]

_LENGTH = timedelta(seconds=3)
_PROLONG_AFTER = 1.0
_ROW = 1


class Turn:
    """One relay's turn at a database.

    Args:
        using: the alias of the database.

    Attributes:
        hubs: the hubs of other processes with connections, as this relay, or the one before it, knew them last.
    """

    def __init__(self, using: str) -> None:
        self.name = secrets.token_hex(8)
        self._using = using
        self._prolong_at = 0.0
        self.hubs: frozenset[str] = frozenset()

    @contextmanager
    def take(self) -> Iterator[bool]:
        """Yield whether it is this relay's turn for the time of the block."""
        if not self._hold():
            yield False
        elif connections[self._using].features.has_select_for_update:
            with transaction.atomic(using=self._using):
                is_mine = len(self._row.select_for_update().filter(holder=self.name)) == 1
                if not is_mine:
                    self._prolong_at = 0.0
                yield is_mine
        else:
            yield True

    def record_hubs(self, hubs: frozenset[str]) -> None:
        """Record the hubs of other processes, for the relay after this one."""
        if hubs != self.hubs:
            self._row.filter(holder=self.name).update(hubs=json.dumps(sorted(hubs)))
            self.hubs = hubs

    def end(self) -> None:
        """Let another relay take over at once."""
        self._prolong_at = 0.0
        self._row.filter(holder=self.name).update(ends_at=Now() - _LENGTH)

    def _hold(self) -> bool:
        now = time.monotonic()
        if now < self._prolong_at:
            return True
        mine_or_over = self._row.filter(Q(holder=self.name) | Q(ends_at__lt=Now()))
        if not mine_or_over.update(holder=self.name, ends_at=Now() + _LENGTH):
            is_over = {"holder": "", "ends_at": timezone.now() - timedelta(days=1)}
            _, is_new = RelayTurn.objects.using(self._using).get_or_create(pk=_ROW, defaults=is_over)
            return is_new and self._hold()
        self._prolong_at = now + _PROLONG_AFTER
        self.hubs = frozenset(json.loads(self._row.get().hubs))
        return True

    @property
    def _row(self) -> QuerySet[RelayTurn]:
        return RelayTurn.objects.using(self._using).filter(pk=_ROW)
