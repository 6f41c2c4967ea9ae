"""Stores of histories on real servers, and what tests append to them and read."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from django.core.management import call_command
from django.db import connections

from django_etp import History
from django_etp.history import DatabaseHistory, MemoryHistory, RedisHistory
from django_etp.history.store import Entry, NewEvent, Position, Store
from tests.support.postgres import start_postgres
from tests.support.valkey import Valkey

KINDS = ["memory", "redis", "sqlite", "postgres"]
LIMITS = History(size=50, seconds=60)

MakeStore = Callable[[], Store]


@contextmanager
def added_database(alias: str, settings: dict[str, Any]) -> Iterator[None]:
    """Add a database with the tables of histories for the time of the block. Tests may use databases in it."""
    connections.settings[alias] = connections.configure_settings({"default": {}, alias: settings})[alias]
    try:
        call_command("migrate", "django_etp_history", database=alias, verbosity=0)
        yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


@contextmanager
def sqlite_history(folder: Path, alias: str = "history-sqlite") -> Iterator[MakeStore]:
    """Histories in a file of SQLite. Tests of several modules may run in one process, so each has its alias."""
    with added_database(alias, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "history.sqlite3")}):
        yield lambda: DatabaseHistory(using=alias)


@contextmanager
def postgres_history() -> Iterator[MakeStore]:
    """Histories in a PostgreSQL server of their own."""
    with start_postgres() as settings, added_database("history-postgres", settings):
        yield lambda: DatabaseHistory(using="history-postgres")


def redis_history(valkey: Valkey) -> Store:
    """Histories in a Valkey server."""
    return RedisHistory(url=f"redis://127.0.0.1:{valkey.port}/0")


def memory_history() -> Store:
    """Histories in the memory of the tests."""
    return MemoryHistory()


def new_room() -> str:
    """Return the name of a group that no other test uses."""
    return f"etp.room.{uuid4().hex}"


def new_events(room: str, texts: Iterable[str], limits: History = LIMITS, **options: Any) -> list[NewEvent]:
    return [NewEvent(room, text, limits, **options) for text in texts]


async def append(store: Store, room: str, *texts: str, limits: History = LIMITS, **options: Any) -> list[Position]:
    """Append events, each by a call of its own."""
    return [(await store.append([event]))[0].position for event in new_events(room, texts, limits, **options)]


def texts(entries: Iterable[Entry] | None) -> list[str] | None:
    return None if entries is None else [entry.text for entry in entries]


async def forget(store: Store, room: str) -> None:
    """Remove all that a store has of a room, as someone does who empties it."""
    if isinstance(store, RedisHistory):
        await store._redis.delete(*[key async for key in store._redis.scan_iter(f"*{room}*")])
    elif isinstance(store, DatabaseHistory):
        from django_etp.history.models import HistoryRoom

        await asyncio.to_thread(
            lambda: (HistoryRoom.objects.using(store._using).filter(name=room).delete(), connections.close_all())
        )
    else:
        from django_etp.history import memory

        memory._rooms.by_name.pop(room, None)
