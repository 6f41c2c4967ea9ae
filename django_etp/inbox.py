"""Reading one channel of the channel layer, for as long as its hub lives.

Rules kept here:

- A ``receive`` is never cancelled or timed out but at the end: on some layers that loses messages.
- Reading never waits for what is done with a message.
- An error of the layer is logged once, reported, and reading goes on, with growing pauses while it lasts.
- A message that is malformed does no harm.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from .envelope import Malformed, Message, unpack

__all__ = ["complain", "read_channel"]

logger = logging.getLogger(__name__)

_FIRST_PAUSE = 0.05
_LAST_PAUSE = 1.0
_SHORTEST_WAIT = 0.5
# After this many messages that were there at once the loop turns, so that others have their share.
_MESSAGES_PER_TURN = 32

_MOST_COMPLAINTS = 100
_complained_of: set[str] = set()


async def read_channel(layer: Any, channel: str, take: Callable[[Message], None], failed: Callable[[], None]) -> None:
    """Give each message of a channel to ``take``, without end; call ``failed`` where the layer raised."""
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    is_failing = False
    since_turn = 0
    while True:
        began_at = loop.time()
        try:
            message = await layer.receive(channel)
        except Exception as error:
            # redis-py gives up waiting after socket_timeout; there simply was no message. One that comes at once is an
            # error like any other, and must not keep the loop from turning.
            if type(error).__name__ == "TimeoutError" and loop.time() - began_at > _SHORTEST_WAIT:
                continue
            if not is_failing:
                logger.warning("Receiving from the channel layer failed, and is tried until it works: %r", error)
            is_failing = True
            failed()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)
            continue
        if is_failing:
            logger.info("Receiving from the channel layer works again.")
        is_failing, pause = False, _FIRST_PAUSE
        _take(message, take)
        since_turn += 1
        if since_turn >= _MESSAGES_PER_TURN:
            since_turn = 0
            await asyncio.sleep(0)


def _take(message: object, take: Callable[[Message], None]) -> None:
    try:
        if not isinstance(message, dict):
            raise Malformed(f"it is no dict but {type(message).__name__}")
        take(unpack(message))
    except Malformed as problem:
        complain(problem)
    except Exception:
        logger.exception("A message on the channel layer could not be handled.")


def complain(problem: Exception) -> None:
    """Say in the log, once for each kind of problem, that a message was ignored."""
    kind = str(problem)[:40]
    if kind not in _complained_of and len(_complained_of) < _MOST_COMPLAINTS:
        _complained_of.add(kind)
        logger.warning("A message on the channel layer was ignored (more of its kind are, in silence): %s", problem)
