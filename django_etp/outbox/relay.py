"""Relay the durable events of one database, on a thread of its own.

Rules kept here:

- One thread with one database connection does all: it waits for commits, reads, sends and removes. A relay that does
  not have its turn looks every second whether another one has died.
- While the database or the channel layer is out of order, the relay tries again every second or more often. The log has
  one line when it begins, and one when it is over.
- A relay whose channel layer stays out of order lets another process try.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress

from django.db import Error, connections
from django.utils import timezone

from django_etp.exceptions import describe
from django_etp.hub.hub import Hub

from .commits import Bell
from .delivery import Delivery, Round
from .turns import Turn

__all__ = ["Relay"]

logger = logging.getLogger(__name__)

# In seconds.
_POLL_EVERY = 0.5
_STAND_BY = 1.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 1.0
_PASS_ON_AFTER = 12.0


class Relay:
    """The relay of one database.

    Args:
        using: the alias of the database.
        hub: returns the hub to send through; ``None`` ends the relay.

    Attributes:
        ended: is done once the relay has ended.
    """

    def __init__(self, using: str, hub: Callable[[], Hub | None]) -> None:
        self.ended: Future[None] = Future()
        self._using = using
        self._hub = hub
        self._turn = Turn(using)
        self._delivery = Delivery(using)
        self._is_stopping = False
        self._bell = Bell(using)
        self._thread = threading.Thread(target=self._run, name=f"etp-relay-{using}", daemon=True)
        self._has_failed = False
        self._problem_since: float | None = None
        self._pause = _FIRST_PAUSE

    def start(self) -> None:
        """Begin to relay."""
        self._thread.start()

    def stop(self) -> None:
        """End after the events that are under way."""
        self._is_stopping = True
        self._bell.ring()

    def _run(self) -> None:
        try:
            while not self._is_stopping and (hub := self._hub()) is not None:
                if pause := self._work(hub):
                    self._bell.wait(pause)
        finally:
            try:
                self._turn.end()
            except Exception as error:
                logger.debug("The turn of a relay ends by itself: %r", error)
            self._bell.close()
            self._disconnect()
            self.ended.set_result(None)

    def _work(self, hub: Hub) -> float:
        """Do what is to be done now; return after how many seconds to look again."""
        try:
            self._bell.listen()
            with self._turn.take() as is_ours:
                done = self._delivery.deliver(hub, self._turn.hubs) if is_ours else None
                if done is not None and done.hubs is not None:
                    self._turn.record_hubs(done.hubs)
        except Exception as error:
            return self._record_error(error)
        if self._has_failed:
            self._has_failed = False
            logger.warning("The relay of durable events in database %r works again.", self._using)
        if done is None:
            return _STAND_BY
        return self._record_problem(done) if done.problem else self._next(done)

    def _next(self, done: Round) -> float:
        if self._problem_since is not None:
            self._problem_since, self._pause = None, _FIRST_PAUSE
            logger.warning("Durable events in database %r are relayed again.", self._using)
        if done.has_more:
            return 0.0
        if done.retry_at is None:
            return _POLL_EVERY
        return min(max((done.retry_at - timezone.now()).total_seconds(), 0.001), _POLL_EVERY)

    def _record_problem(self, done: Round) -> float:
        now = time.monotonic()
        if self._problem_since is None:
            self._problem_since = now
            logger.warning("Durable events in database %r wait and are sent again: %s", self._using, done.problem)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        if now - self._problem_since > _PASS_ON_AFTER:
            with suppress(Error):
                self._turn.end()
            return _STAND_BY
        return self._pause

    def _record_error(self, error: Exception) -> float:
        if self._has_failed:
            pass
        elif isinstance(error, Error):
            logger.warning(
                "The relay of durable events cannot use the database %r and tries again every second: %s. If its "
                "tables are missing, run manage.py migrate --database %s.",
                self._using,
                describe(error),
                self._using,
            )
        else:
            logger.error("The relay of durable events in database %r failed.", self._using, exc_info=error)
        self._has_failed = True
        self._bell.forget_connection()
        self._disconnect()
        return _STAND_BY

    def _disconnect(self) -> None:
        with suppress(Exception):
            connections[self._using].close()
