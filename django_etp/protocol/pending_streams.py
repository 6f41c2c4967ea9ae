"""Streamed answers that one connection waits for: their parts, from the arrival to the loop that reads them.

Rules kept here:

- While 100 parts of an answer wait for their loop, the connection is not read, which holds the peer up. If other
  answers are pending too, ten times as many may wait: the loop itself may have asked.
- A loop that ends early asks the peer to stop.

The Python client and the testing kit share this module; it knows neither Django nor Channels.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from django_etp.exceptions import AckTimeout, ConnectionClosed

from .acks import PendingAcks
from .frames import Event, encode
from .streams import encode_stop

__all__ = ["PendingStreams"]

_MOST_WAITING = 100
# While another answer is pending, so many times as many parts may wait.
_STRETCH = 10


class PendingStreams:
    """The streamed answers that one connection waits for.

    Args:
        acks: the pending acks of the connection.
        has_room: is set when more may wait than before.
        send: sends a frame.
        can_stop: whether the peer streams answers, and so can stop one.
    """

    def __init__(
        self, acks: PendingAcks, has_room: asyncio.Event, send: Callable[[str], Awaitable[None]], *, can_stop: bool
    ) -> None:
        self._acks = acks
        self._has_room = has_room
        self._send = send
        self._can_stop = can_stop
        self._waiting: dict[int, tuple[deque[Event], asyncio.Event]] = {}

    def reads(self, ack_id: int) -> bool:
        """Whether a loop reads the parts of the answer with this number."""
        return ack_id in self._waiting

    async def put(self, part: Event) -> None:
        """Pass a part on to its loop; wait while too many wait there. It is dropped if no loop reads it."""
        while self._is_full(part.ack_id):
            self._has_room.clear()
            await self._has_room.wait()
        if part.ack_id in self._waiting:
            parts, has_arrived = self._waiting[part.ack_id]
            parts.append(part)
            has_arrived.set()
            # Messages that have arrived already are received without a turn of the loop, so that no part could be read.
            await asyncio.sleep(0)

    async def read(self, name: str, text: str, timeout: float) -> AsyncGenerator[Event, None]:
        """Send an event, and yield the parts of its answer; an answer that is not streamed is the only part."""
        ack_id, answer = self._acks.open()
        parts, has_arrived = self._waiting[ack_id] = deque(), asyncio.Event()
        answer.add_done_callback(lambda _: has_arrived.set())
        is_over = False
        try:
            await self._send(encode(Event(name, ack_id, text)))
            while True:
                while parts:
                    part = parts.popleft()
                    self._has_room.set()
                    yield part
                if answer.done():
                    is_over = True
                    if (last := answer.result()).data:
                        yield last
                    return
                has_arrived.clear()
                await _arrival(has_arrived, name, timeout)
        finally:
            del self._waiting[ack_id]
            self._acks.discard(ack_id)
            self._has_room.set()
            if self._can_stop and not is_over:
                with suppress(ConnectionClosed):
                    await self._send(encode_stop(name, ack_id))

    def _is_full(self, ack_id: int) -> bool:
        if ack_id not in self._waiting or self._acks.is_closed:
            return False
        has_other_questions = len(self._acks) > len(self._waiting)
        return len(self._waiting[ack_id][0]) >= _MOST_WAITING * (_STRETCH if has_other_questions else 1)


async def _arrival(has_arrived: asyncio.Event, name: str, timeout: float) -> None:
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            await has_arrived.wait()
    except TimeoutError:
        if not deadline.expired():
            raise
        raise AckTimeout(f"No further part of the answer to {name!r:.80} came within {timeout:g} s.") from None
