"""Bound the bytes that the events of one connection hold, while they run or wait.

Rules kept here:

- Beyond ``MAX_HELD`` bytes the receive loop pauses until some events have ended.
- If none ends for 10 s, the connection is closed with 1008: a loop that pauses does not notice that the client is gone.
- While a handler waits for the client's answer, which may lie behind further events, twice as many bytes are read.
"""

import asyncio
from sys import getsizeof
from typing import Protocol

from django_etp.connections.asgi import Send
from django_etp.connections.peer import Peer
from django_etp.connections.transport import pause_reading
from django_etp.exceptions import ProtocolError, TooManyEvents
from django_etp.protocol.frames import Event

__all__ = ["MAX_HELD", "SMALL", "held_by", "make_room"]

MAX_HELD = 16 * 1024 * 1024
# Messages up to this length are not counted: it would cost each event more, and their number is bounded.
SMALL = 256

# A character takes up to 4 bytes in memory, and each of two texts up to 100 bytes more.
_MOST_OF_SMALL = 4 * SMALL + 200
# How long reading pauses if no event ends, in seconds, and how often it looks.
_PAUSE_LIMIT = 10.0
_PAUSE_STEP = 0.02


class Holder(Protocol):
    """The dispatcher of a connection's events."""

    held: int


def held_by(item: Event | ProtocolError) -> int:
    """Return the bytes in memory of the text of an event or a malformed frame; 0 if its message may be a small one."""
    texts = (item.name, item.data) if isinstance(item, Event) else (getattr(item, "frame", None),)
    size = sum(map(getsizeof, texts))
    return size if size > _MOST_OF_SMALL else 0


async def make_room(holder: Holder, peer: Peer, send: Send) -> None:
    """Wait until a connection's events hold at most ``MAX_HELD`` bytes, or the connection ends.

    Raises:
        TooManyEvents: no event ended for a while.
    """
    if holder.held <= MAX_HELD:
        return
    loop = asyncio.get_running_loop()
    held, since = holder.held, loop.time()
    resume = pause_reading(send)
    try:
        while peer.disconnect is None and holder.held > (2 if peer.is_asking else 1) * MAX_HELD:
            if loop.time() - since > _PAUSE_LIMIT:
                raise TooManyEvents(
                    f"Events of one connection hold {held:,} bytes, more than {MAX_HELD:,}, and none ended within "
                    f"{_PAUSE_LIMIT:g} s; it is closed with 1008. Look for handlers that hang or are slow."
                )
            await asyncio.sleep(_PAUSE_STEP)
            if holder.held < held:
                held, since = holder.held, loop.time()
    finally:
        if resume is not None:
            resume()
