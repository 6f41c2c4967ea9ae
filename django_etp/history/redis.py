"""Histories in Redis or Valkey, shared by all processes of a site.

Rules kept here:

- To append an event and to publish it is one step. So no process learns of an event that the others will not get.
- All events of a call go over one connection, in order.
- A command that got no reply is not sent again: the event may be there already.
- The store of an event loop has one pool of connections. After a fork the child makes new ones.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from hashlib import sha1
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from django_etp.exceptions import HistoryUnavailable, describe

from .following import Following, channel_of, read_event
from .limits import History
from .scripts import APPEND, READ_AFTER, READ_BEFORE
from .store import (
    KEEP_SECONDS,
    REMEMBERED,
    SLACK,
    Appended,
    Entry,
    NewEvent,
    Position,
    Recovery,
    new_epoch,
    recover,
    still_kept,
)

__all__ = ["RedisHistory"]

logger = logging.getLogger(__name__)

# How long a command may take, in seconds.
_LIMIT = 3.0
_CLOSE_LIMIT = 1.0
_CONNECTIONS = 16
# Scripts are called by their hashes.
_APPEND_SHA = sha1(APPEND.encode(), usedforsecurity=False).hexdigest()


class RedisHistory:
    """Histories in streams of Redis or Valkey.

    Args:
        url: the address of the server, such as ``redis://localhost:6379/0``, as redis-py's ``from_url()`` takes it.
    """

    is_shared = True

    def __init__(self, *, url: str) -> None:
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_LIMIT,
            socket_timeout=_LIMIT,
            socket_connect_timeout=_LIMIT,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            protocol=2,  # with the newer one redis-py does not notice that the server closed an idle connection
        )
        self._redis = Redis(connection_pool=self._pool)
        self._read_after = self._redis.register_script(READ_AFTER)
        self._read_before = self._redis.register_script(READ_BEFORE)

    async def append(self, events: Sequence[NewEvent]) -> list[Appended]:
        """See Store."""
        calls = [_append_call(event) for event in events]
        async with _reachable():
            replies = await self._append(calls)
            unknown = [index for index, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
            if unknown:  # the server is new
                await self._redis.script_load(APPEND)
                for index, reply in zip(unknown, await self._append([calls[each] for each in unknown]), strict=True):
                    replies[index] = reply
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
        return [Appended(Position(epoch, number), bool(is_first)) for epoch, number, is_first in replies]

    async def _append(self, calls: Sequence[list[str | int]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for call in calls:
                pipeline.evalsha(_APPEND_SHA, 3, *call)
            replies: list[Any] = await pipeline.execute(raise_on_error=False)
            return replies

    async def now(self) -> float:
        """See Store. It is the time of the server, in whole milliseconds as those of events are."""
        async with _reachable():
            seconds, micros = await self._redis.time()
        return (int(seconds) * 1000 + int(micros) // 1000) / 1000

    async def position(self, room: str) -> Position:
        """See Store."""
        return (await self.read_after(room, None, History())).position

    async def positions(self, rooms: Collection[str]) -> dict[str, Position]:
        """See Store."""
        async with _reachable(), self._redis.pipeline(transaction=False) as pipeline:
            for room in rooms:
                pipeline.hmget(_keys(room)[0], "epoch", "number")
            replies = await pipeline.execute()
        states = zip(rooms, replies, strict=True)
        return {room: Position(epoch, int(number)) for room, (epoch, number) in states if epoch is not None}

    async def read_after(self, room: str, since: Position | None, limits: History) -> Recovery:
        """See Store."""
        epoch, number = since or ("", 0)
        arguments: list[str | int] = [new_epoch(), KEEP_SECONDS * 1000, epoch, number, limits.size + SLACK]
        async with _reachable():
            reply = await self._read_after(_keys(room), arguments)
        position, now, entries = _read(reply)
        return recover(position, since, entries, limits, now)

    async def read_before(self, room: str, before: Position | None, most: int, limits: History) -> list[Entry]:
        """See Store."""
        epoch, number = before or ("", 0)
        async with _reachable():
            reply = await self._read_before(_keys(room), [epoch, number, most, limits.size + SLACK])
        position, now, entries = _read(reply)
        entries = still_kept(position, entries, limits, now)
        return [entry for entry in entries if before is None or entry.position.number < before.number][-most:]

    def follow(self, take: Callable[[str, Entry], None], missed: Callable[[], None]) -> Following:
        """See Store."""
        return Following(self._redis, take, missed)

    async def close(self) -> None:
        """See Store."""
        try:
            async with asyncio.timeout(_CLOSE_LIMIT):
                await self._pool.disconnect()
        except (RedisError, OSError) as error:
            logger.debug("The connections of the history could not be closed: %r", error)


def _append_call(event: NewEvent) -> list[str | int]:
    """Return the keys and the arguments of the script that appends an event."""
    age = round(event.limits.seconds * 1000)
    room: list[str | int] = [new_epoch(), KEEP_SECONDS * 1000 + age, channel_of(event.room)]
    trace = [{"trace": event.trace}] if event.trace else []
    text = json.dumps([event.text, *sorted(event.exclude), *trace], ensure_ascii=False)
    return [*_keys(event.room), *room, text, event.emission, event.limits.size, age, REMEMBERED]


def _keys(room: str) -> list[str]:
    return [f"{{{room}}}.history.{name}" for name in ("state", "events", "durable")]


def _read(reply: Any) -> tuple[Position, float, list[Entry]]:
    """Return the last position, the server's time and the entries, in order, of a script's reply."""
    epoch, number, now, entries = reply
    read = []
    for id, (_, text) in reversed(entries):
        moment, of_entry = id.split("-")
        read.append(read_event(text, Position(epoch, int(of_entry)), int(moment) / 1000))
    return Position(epoch, number), now / 1000, read


@asynccontextmanager
async def _reachable() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(_LIMIT):
            yield
    except (RedisError, OSError) as error:  # a TimeoutError is an OSError
        raise HistoryUnavailable(f"The history could not be reached: {describe(error)}.") from error
