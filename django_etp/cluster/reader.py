"""Read one channel of the channel layer for as long as its node lives.

Rules kept here:

- A ``receive`` is never cancelled or timed out except at the end: on some layers that loses messages.
- Reading waits neither for the delivery of a message nor for its share of the time: messages left in the layer may be
  dropped there, for their age or for want of room.
- An error of the layer is logged once and reported, and reading goes on, with growing pauses while the error lasts.
- A message that is malformed, that the layer cannot decode, or at which anything else raises, is ignored with one line
  in the log, and holds up none behind it.
- A reader that ends, for whatever reason, is started again.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from django_etp.cancellation import must_pass
from django_etp.exceptions import describe
from django_etp.quoting import line_of, quote_traceback

from .messages import Malformed, Message, RoomMessage, unpack

__all__ = ["Backlog", "complain", "keep_running", "read_channel"]

logger = logging.getLogger(__name__)
logger.addFilter(quote_traceback)

_FIRST_PAUSE = 0.05
_LAST_PAUSE = 1.0
_SHORTEST_WAIT = 0.5
# After a message that cannot be decoded: long enough to leave the processor to others, should each receive raise so.
_UNDECODED_PAUSE = 0.002
# After this many messages without a wait the loop turns, so that other tasks run.
_MESSAGES_PER_TURN = 32

# Delivery may take this share of the time. The excess adds up, and then reading has a turn, which ends once nothing has
# arrived for a while, and comes less often after that. In seconds. A receive of RedisChannelLayer takes many turns of
# the loop: if each were full of deliveries, the layer would be emptied only as fast as they go.
_GIVING_SHARE = 0.5
_GIVING_TURN = 0.1
_LONGEST_GIVING_TURN = 1.0
_READING_TURN = 0.2
_NOTHING_CAME = 0.05
# How long other tasks wait for the loop while messages are delivered, in seconds.
_LONGEST_STEP = 0.005
# The limit of the messages that wait here, in characters of frames; past it reading keeps the pace of delivery.
_MAX_WAITING = 128 * 1024 * 1024

# The errors of decoding: a value of the wrong kind, a number too large, values nested too deeply.
_CONTENT_ERRORS = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, MemoryError)

_MOST_COMPLAINTS = 100
_complained_of: set[str] = set()


async def keep_running(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do work that has no end; start it again if it ends, with growing pauses. Only a cancellation ends this."""
    clock = asyncio.get_running_loop().time
    pause = _FIRST_PAUSE
    while True:
        began_at = clock()
        try:
            await work()
            reason = "it returned"
        except BaseException as error:
            if must_pass(error):
                raise
            reason = describe(error)
        logger.error("A task that reads the channel layer ended, and is started again: %.500s", reason)
        pause = min(pause * 2, _LAST_PAUSE) if clock() - began_at < _LAST_PAUSE else _FIRST_PAUSE
        await asyncio.sleep(pause)


async def read_channel(layer: Any, channel: str, take: Callable[[Message], None], failed: Callable[[], None]) -> None:
    """Pass each message of a channel to ``take``, without end; call ``failed`` whenever the layer raises."""
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE
    is_failing = False
    since_turn = 0
    while True:
        began_at = loop.time()
        try:
            message = await layer.receive(channel)
        except BaseException as error:
            if must_pass(error):
                raise
            # redis-py gives up waiting after socket_timeout: there simply was no message. A timeout that comes at once
            # is an error like any other, and must not keep the loop from turning.
            if type(error).__name__ == "TimeoutError" and loop.time() - began_at > _SHORTEST_WAIT:
                continue
            if _is_undecoded(error):
                complain(Malformed(f"it cannot be decoded: {describe(error)}"))
                await asyncio.sleep(_UNDECODED_PAUSE)
                continue
            if not is_failing:
                logger.warning("Receiving from the channel layer failed; retrying until it works: %r", error)
            is_failing = True
            failed()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LAST_PAUSE)
            continue
        if is_failing:
            logger.info("Receiving from the channel layer works again.")
        is_failing, pause = False, _FIRST_PAUSE
        _unpack(message, take)
        since_turn += 1
        if since_turn >= _MESSAGES_PER_TURN:
            since_turn = 0
            await asyncio.sleep(0)


def _is_undecoded(error: BaseException) -> bool:
    """Whether a receive raised because of a message's content, which another program or another key has made."""
    # InvalidToken is of cryptography, UnpackException of msgpack, which need not be installed. Some errors of TLS are
    # both OSError and ValueError.
    by_its_content = isinstance(error, _CONTENT_ERRORS) or any(
        kind.__name__ in ("InvalidToken", "UnpackException") for kind in type(error).__mro__
    )
    return by_its_content and not isinstance(error, OSError)


class Backlog:
    """Messages that were read and wait to be passed to ``take``, in order.

    So a process that is busy with deliveries still empties its channel.
    """

    def __init__(self, take: Callable[[Message], None]) -> None:
        self._take = take
        self._messages: deque[tuple[Message, int]] = deque()
        self._size = 0
        self._reads = 0
        self._came = asyncio.Event()

    def put(self, message: Message) -> None:
        """Add a message that was read."""
        size = _size(message)
        self._reads += 1
        self._size += size
        self._messages.append((message, size))
        self._came.set()
        while self._size > _MAX_WAITING:
            self._give_one()

    async def give(self) -> None:
        """Pass on each message that was added, without end."""
        clock = asyncio.get_running_loop().time
        limit, spent, looked_at = _GIVING_TURN, 0.0, clock()
        while True:
            await self._came.wait()
            began_at = clock()
            while self._messages and clock() < began_at + _LONGEST_STEP:
                self._give_one()
            if not self._messages:
                self._came.clear()
            await asyncio.sleep(0)  # the frames are written in this turn
            now = clock()
            spent = max(0.0, spent + now - began_at - (now - looked_at) * _GIVING_SHARE)
            if spent > limit:
                limit = _GIVING_TURN if await self._let_reading_go_on() else min(limit * 2, _LONGEST_GIVING_TURN)
                spent, now = 0.0, clock()
            looked_at = now

    def _give_one(self) -> None:
        message, size = self._messages.popleft()
        self._size -= size
        _hand_over(message, self._take)

    async def _let_reading_go_on(self) -> bool:
        """Let reading have its turn; return whether anything arrived."""
        clock = asyncio.get_running_loop().time
        ends_at = clock() + _READING_TURN
        first, reads = self._reads, -1
        while self._reads != reads and clock() < ends_at:
            reads = self._reads
            await asyncio.sleep(_NOTHING_CAME)
        return self._reads != first


def _size(message: Message) -> int:
    frames = message.frames if isinstance(message, RoomMessage) else ()
    texts = (frame[0] if isinstance(frame, list | tuple) and frame else frame for frame in frames)
    # A forged frame may be any value.
    return sum(len(text) if isinstance(text, str) else 1 for text in texts)


def _unpack(message: object, take: Callable[[Message], None]) -> None:
    try:
        if not isinstance(message, dict):
            raise Malformed(f"it is no dict but {type(message).__name__}")
        unpacked = unpack(message)
    except Malformed as problem:
        complain(problem)
    except Exception as error:
        complain(Malformed(f"it cannot be read: {describe(error)}"))
    else:
        _hand_over(unpacked, take)


def _hand_over(message: Message, take: Callable[[Message], None]) -> None:
    """Pass a message to ``take``; one that it refuses, or fails at, does no harm."""
    try:
        take(message)
    except Malformed as problem:
        complain(problem)
    except Exception as error:
        complain(Malformed(f"it could not be handled: {describe(error)}"), because=error)


def complain(problem: Exception, because: Exception | None = None) -> None:
    """Log that a message was ignored, once for each kind of problem; with a traceback if an error caused it."""
    kind = str(problem)[:40]
    if kind not in _complained_of and len(_complained_of) < _MOST_COMPLAINTS:
        _complained_of.add(kind)
        logger.log(
            logging.WARNING if because is None else logging.ERROR,
            "A message on the channel layer was ignored; more of its kind will not be logged: %s",
            line_of(problem, 500),
            exc_info=because,
        )
