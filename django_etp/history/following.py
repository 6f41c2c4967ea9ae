"""The rooms of one process whose new events Redis or Valkey passes on, over one connection.

Rules kept here:

- The connection is opened with the first room. If it is lost, it is opened again until close().
- Once it is back, the follower is notified that events may have been missed. The numbers of the events show which.
- A connection that brings nothing, not even an answer to a ping, is given up after 6 s.
"""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from django_etp.concurrency.tasks import end_tasks, leave_alone
from django_etp.conf.layer_names import channel_prefix

from .store import Entry, Position

__all__ = ["Following", "channel_of", "read_event"]

logger = logging.getLogger(__name__)

_PING_EVERY = 3.0
_SILENCE_LIMIT = 2 * _PING_EVERY
_JOIN_LIMIT = 3.0
_PAUSES = (0.05, 0.2, 0.5, 1.0)
_END_LIMIT = 1.0


def channel_of(room: str) -> str:
    """Return the name of the channel to which the events of a room are published."""
    return f"{room}.history"


def read_event(text: str, position: Position, at: float) -> Entry:
    """Return an event from the value that the store has of it."""
    frame, *rest = json.loads(text)
    trace = rest.pop()["trace"] if rest and isinstance(rest[-1], dict) else ""
    return Entry(position, at, frame, frozenset(rest), trace)


class Following:
    """The rooms that one process follows.

    Args:
        redis: the client, for its connections.
        take: is called with the room and the event when one was appended, in order.
        missed: is called when events may have been missed.
    """

    def __init__(self, redis: Redis, take: Callable[[str, Entry], None], missed: Callable[[], None]) -> None:
        self._redis = redis
        self._take = take
        self._missed = missed
        # Whether the server has confirmed a room's subscription, and how many confirmations of it are to come.
        self._rooms: dict[str, asyncio.Event] = {}
        self._unconfirmed: Counter[str] = Counter()
        self._changing = asyncio.Lock()
        self._pubsub: PubSub | None = None
        self._task: asyncio.Task[None] | None = None
        # The last attempt to connect has failed, or the connection was lost.
        self._failed = asyncio.Event()
        self._may_have_missed = False
        self._heard_at = 0.0

    async def add(self, room: str) -> None:
        """Follow a room. Return once every event that is appended from now on will come.

        Return as well if the server cannot be reached, or after 3 s. missed() is called once the room is followed.
        """
        confirmed = self._rooms.get(room)
        if confirmed is None:
            confirmed = self._rooms[room] = asyncio.Event()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run())
            elif self._pubsub is not None:
                self._unconfirmed[room] += 1
                await self._subscribe(self._pubsub, room)
        if not confirmed.is_set():
            waits = [asyncio.ensure_future(event.wait()) for event in (confirmed, self._failed)]
            await asyncio.wait(waits, timeout=_JOIN_LIMIT, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    def discard(self, room: str) -> None:
        """Follow a room no longer."""
        if self._rooms.pop(room, None) is not None and self._pubsub is not None:
            leave_alone(asyncio.get_running_loop().create_task(self._unsubscribe(self._pubsub, room)))

    async def close(self) -> None:
        """Follow no room any more, and close the connection; within a bounded time."""
        task, self._task = self._task, None
        self._rooms.clear()
        if task is not None:
            await end_tasks([task], _END_LIMIT)

    async def _subscribe(self, pubsub: PubSub, room: str) -> None:
        # If the connection is lost, the task opens another one, for all rooms.
        async with self._changing:
            with suppress(RedisError, OSError):
                await pubsub.subscribe(channel_of(room))

    async def _unsubscribe(self, pubsub: PubSub, room: str) -> None:
        async with self._changing:
            if room not in self._rooms and pubsub is self._pubsub:  # it may have been added again
                with suppress(RedisError, OSError):
                    await pubsub.unsubscribe(channel_of(room))

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._listen()
            except (RedisError, OSError) as error:
                self._failed.set()
                self._may_have_missed = True
                failures = 0 if self._pubsub is not None else failures + 1
                log = logger.warning if failures == 1 else logger.info
                log("The connection that brings the events of rooms with history is lost; trying again: %r", error)
            finally:
                self._pubsub = None
                self._unconfirmed.clear()
                for confirmed in self._rooms.values():
                    confirmed.clear()
            await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        async with self._redis.pubsub() as pubsub:
            last = f"{channel_prefix()}.history"
            await pubsub.subscribe(*map(channel_of, self._rooms), last)  # at least one
            self._heard_at = loop.time()
            self._pubsub = pubsub
            self._failed.clear()
            while True:
                message = await pubsub.get_message(timeout=_PING_EVERY)
                now = loop.time()
                if message is not None:
                    self._heard_at = now
                    self._receive(message, last)
                elif now - self._heard_at > _SILENCE_LIMIT:
                    raise TimeoutError("the server did not answer a ping")
                else:
                    await pubsub.ping()

    def _receive(self, message: dict[str, Any], last: str) -> None:
        room = message["channel"].removesuffix(".history") if message["channel"] else ""
        if message["type"] == "message" and room in self._rooms:
            position, moment, text = message["data"].split(" ", 2)
            if (found := Position.parse(position)) is not None:
                self._take(room, read_event(text, found, int(moment) / 1000))
        elif message["type"] == "subscribe":
            if message["channel"] == last:  # all rooms are subscribed, maybe anew: redis-py connects again by itself
                if self._may_have_missed:
                    self._missed()
                self._may_have_missed = True
                return
            self._unconfirmed[room] -= 1
            if self._unconfirmed[room] <= 0:
                del self._unconfirmed[room]
                if room in self._rooms:
                    self._rooms[room].set()
