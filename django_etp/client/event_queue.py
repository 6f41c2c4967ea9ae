"""The received events of one connection that wait for their handlers.

Rules kept here:

- Handlers run up to a limit at a time; more events wait in order, up to another limit.
- While the queue is full, ``put()`` does not return. The connection then reads nothing more, which slows the server.
- While this side waits for an answer, the queue may be longer: the answer may be behind the events.
- If the queue stays full for six seconds and no handler ends, ``TooManyEvents`` is raised.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from django_etp.exceptions import TooManyEvents
from django_etp.protocol.acks import PendingAcks
from django_etp.protocol.frames import Event

__all__ = ["EventQueue"]

# In seconds. Meanwhile answers and pings are not read either: a client that waited for ever would be as good as gone.
_STALL_LIMIT = 6.0
# While an answer is pending, so many times as many events may wait.
_STRETCH = 10


class EventQueue:
    """Starts the handlers of events, and keeps the events that must wait.

    Args:
        start: starts the handler of an event, and calls ``handled()`` once that has ended.
        acks: the pending acks of the connection.
        max_running: how many handlers run at a time.
        max_queued: how many events wait.

    Attributes:
        has_room: is set when there may be room: a handler has ended, or has begun to wait for an answer.
    """

    def __init__(self, start: Callable[[Event], None], acks: PendingAcks, *, max_running: int, max_queued: int) -> None:
        self._start = start
        self._acks = acks
        self._max_running = max_running
        self._max_queued = max_queued
        self._events: deque[Event] = deque()
        self._running = 0
        self._is_closed = False
        self.has_room = asyncio.Event()

    async def put(self, event: Event) -> None:
        """Start the handler of an event, or let the event wait. A closed queue drops it.

        Raises:
            TooManyEvents: the queue has been full for too long.
        """
        try:
            while self._is_full:
                self.has_room.clear()
                async with asyncio.timeout(_STALL_LIMIT):
                    await self.has_room.wait()
        except TimeoutError:
            raise TooManyEvents(
                f"{self._max_queued:,} events of the server wait to be handled, and in {_STALL_LIMIT:g} s no handler "
                "has ended; the connection is closed with 1008."
            ) from None
        if self._is_closed:
            return
        if self._running < self._max_running:
            self._run(event)
            return
        self._events.append(event)
        # Messages that have arrived already are received without a turn of the loop, so that no handler could end.
        await asyncio.sleep(0)

    def handled(self) -> None:
        """Record that a handler has ended; start the next."""
        self._running -= 1
        self.has_room.set()
        while self._events and self._running < self._max_running:
            self._run(self._events.popleft())

    def question_opened(self) -> None:
        """Record that this side waits for an answer: more events may now wait."""
        self.has_room.set()

    def close(self) -> None:
        """Drop the events that wait, and all that are put from now on."""
        self._is_closed = True
        self._events.clear()
        self.has_room.set()

    @property
    def _is_full(self) -> bool:
        if self._running < self._max_running or self._is_closed:
            return False
        return len(self._events) >= (self._max_queued * _STRETCH if len(self._acks) else self._max_queued)

    def _run(self, event: Event) -> None:
        self._running += 1
        self._start(event)
