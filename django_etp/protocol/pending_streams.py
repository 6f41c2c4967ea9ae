"""Streamed answers that one connection waits for: their parts, from the arrival to the loop that reads them.

Rules kept here:

- While 100 parts of an answer wait for their loop, the connection is not read, which holds the peer up. If other
  answers are pending too, ten times as many may wait: the loop itself may have asked.
- A loop that ends early asks the peer to stop.
- The end of a declared room ends the loops of its streams: behind the parts that have come, if the peer has ended the
  room, and at once if this side has left it.

The Python client and the testing kit share this module; it knows neither Django nor Channels.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from django_etp.exceptions import AckTimeout, ConnectionClosed, EventFailed

from .acks import PendingAcks
from .frames import Event, encode
from .rooms import in_room
from .streams import encode_stop

__all__ = ["PendingStreams"]

_MOST_WAITING = 100
# While another answer is pending, so many times as many parts may wait.
_STRETCH = 10


@dataclass(slots=True)
class _Loop:
    """A loop that reads one answer; ``left`` is what it raises once this side has left the room of the event."""

    name: str
    parts: deque[Event] = field(default_factory=deque)
    has_arrived: asyncio.Event = field(default_factory=asyncio.Event)
    left: EventFailed | None = None


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
        self._loops: dict[int, _Loop] = {}

    def reads(self, ack_id: int) -> bool:
        """Whether a loop reads the parts of the answer with this number."""
        return ack_id in self._loops

    async def put(self, part: Event) -> None:
        """Pass a part on to its loop; wait while too many wait there. It is dropped if no loop reads it."""
        while self._is_full(part.ack_id):
            self._has_room.clear()
            await self._has_room.wait()
        if (loop := self._loops.get(part.ack_id)) is not None and loop.left is None:
            loop.parts.append(part)
            loop.has_arrived.set()
            # Messages that have arrived already are received without a turn of the loop, so that no part could be read.
            await asyncio.sleep(0)

    async def read(self, name: str, text: str, timeout: float) -> AsyncGenerator[Event, None]:
        """Send an event, and yield the parts of its answer; an answer that is not streamed is the only part."""
        ack_id, answer = self._acks.open()
        loop = self._loops[ack_id] = _Loop(name)
        answer.add_done_callback(lambda _: loop.has_arrived.set())
        is_over = False
        try:
            await self._send(encode(Event(name, ack_id, text)))
            while loop.left is None:
                if loop.parts:
                    part = loop.parts.popleft()
                    self._has_room.set()
                    yield part
                elif answer.done():
                    is_over = True
                    if (last := answer.result()).data:
                        yield last
                    return
                else:
                    loop.has_arrived.clear()
                    await _arrival(loop.has_arrived, name, timeout)
            is_over = answer.done()
            raise loop.left
        finally:
            del self._loops[ack_id]
            self._acks.discard(ack_id)
            self._has_room.set()
            if self._can_stop and not is_over:
                with suppress(ConnectionClosed):
                    await self._send(encode_stop(name, ack_id))

    def end_room(self, room: str, code: str, message: str, *, is_left: bool = False) -> None:
        """Raise ``EventFailed`` from the loops of a declared room; ``is_left``: this side has left it."""
        for ack_id, loop in self._loops.items():
            if not loop.name.startswith(in_room(room, "")):
                continue
            failure = EventFailed(code, message, is_from_peer=True)
            if not is_left:
                self._acks.fail(ack_id, failure)
                continue
            loop.left = failure
            loop.parts.clear()
            loop.has_arrived.set()
            self._has_room.set()

    def _is_full(self, ack_id: int) -> bool:
        loop = self._loops.get(ack_id)
        if loop is None or self._acks.is_closed:
            return False
        has_other_questions = len(self._acks) > len(self._loops)
        return len(loop.parts) >= _MOST_WAITING * (_STRETCH if has_other_questions else 1)


async def _arrival(has_arrived: asyncio.Event, name: str, timeout: float) -> None:
    deadline = asyncio.timeout(timeout)
    try:
        async with deadline:
            await has_arrived.wait()
    except TimeoutError:
        if not deadline.expired():
            raise
        raise AckTimeout(f"No further part of the answer to {name!r:.80} came within {timeout:g} s.") from None
