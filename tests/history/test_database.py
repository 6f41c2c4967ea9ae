"""Histories in real databases: locks, indexes and failures. For the rest see test_store.py."""

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction

from django_etp import HistoryUnavailable
from django_etp.history import DatabaseHistory
from django_etp.history.models import HistoryEvent, HistoryRoom
from tests.support.histories import LIMITS, MakeStore, append, new_events, new_room, texts


@pytest.fixture(autouse=True)
def _database(django_db_blocker: Any) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield
        connections.close_all()


async def test_no_event_becomes_visible_before_one_with_a_lower_number(postgres: MakeStore) -> None:
    store, room = postgres(), new_room()
    [start] = await append(store, room, "a")
    locked, release = threading.Event(), threading.Event()

    def append_slowly() -> None:
        with transaction.atomic(using="history-postgres"):
            DatabaseHistory(using="history-postgres")._append_to(
                room, new_events(room, ["slow"]), round(time.time() * 1000)
            )
            locked.set()
            release.wait(20)
        connections.close_all()

    thread = threading.Thread(target=append_slowly)
    thread.start()
    await asyncio.to_thread(locked.wait, 20)
    others = asyncio.create_task(store.append(new_events(room, ["quick"])))
    elsewhere = await append(store, new_room(), "other rooms do not wait")
    assert elsewhere[0].number == 1
    assert await store.read_after(room, start, LIMITS) == (start, [])
    assert not others.done()
    release.set()
    [quick] = await others
    assert quick.position.number == 3
    assert texts((await store.read_after(room, start, LIMITS)).missed) == ["slow", "quick"]
    await asyncio.to_thread(thread.join)


async def test_a_rollback_leaves_no_gap(postgres: MakeStore) -> None:
    store, room = postgres(), new_room()

    def fail() -> None:
        with transaction.atomic(using="history-postgres"):
            DatabaseHistory(using="history-postgres")._append_to(
                room, new_events(room, ["lost"], emission="~1"), round(time.time() * 1000)
            )
            transaction.set_rollback(True, using="history-postgres")
        connections.close_all()

    await asyncio.to_thread(fail)
    [first] = await append(store, room, "a", emission="~1")
    assert first.number == 1


@pytest.mark.parametrize("using", ["history-sqlite", "history-postgres"])
async def test_one_index_serves_the_query_for_what_was_missed(
    using: str, sqlite: MakeStore, postgres: MakeStore
) -> None:
    store, room = (sqlite if using == "history-sqlite" else postgres)(), new_room()
    await store.append(new_events(room, ["x"] * 100))

    def plan() -> str:
        try:
            if using == "history-postgres":
                with connections[using].cursor() as cursor:
                    cursor.execute("ANALYZE; SET enable_seqscan = off; SET enable_bitmapscan = off")
            found = HistoryRoom.objects.using(using).get(name=room)
            rows = HistoryEvent.objects.using(using).filter(room=found, number__gt=90, number__lte=100)
            return rows.order_by("number").explain()
        finally:
            connections.close_all()

    explained = await asyncio.to_thread(plan)
    assert "django_etp_history_historyevent" in explained or "etp_history_event" in explained
    assert "sort" not in explained.lower()
    assert "TEMP B-TREE" not in explained
    assert "INDEX" in explained.upper()


async def test_many_events_are_appended_in_few_transactions(sqlite: MakeStore) -> None:
    store, room = sqlite(), new_room()
    appended = await store.append(new_events(room, map(str, range(1100))))
    assert [each.position.number for each in appended] == list(range(1, 1101))


async def test_a_database_that_is_down_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"ENGINE": "django.db.backends.postgresql", "NAME": "x", "HOST": "127.0.0.1", "PORT": 1}
    monkeypatch.setitem(
        connections.settings, "down", connections.configure_settings({"default": {}, "down": settings})["down"]
    )
    store = DatabaseHistory(using="down")
    with pytest.raises(HistoryUnavailable, match="'down' could not be used: OperationalError"):
        await append(store, new_room(), "a")
    with pytest.raises(HistoryUnavailable, match="'down' could not be used"):
        await store.position(new_room())


async def test_missing_tables_are_reported_with_what_to_do(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "empty.sqlite3")}
    configured = connections.configure_settings({"default": {}, "empty": settings})["empty"]
    monkeypatch.setitem(connections.settings, "empty", configured)
    with pytest.raises(HistoryUnavailable, match=r"tables are those of the app .django_etp.history"):
        await DatabaseHistory(using="empty").position(new_room())


async def test_the_time_of_sqlite_is_exact(sqlite: MakeStore) -> None:
    store, room = sqlite(), new_room()
    await append(store, room, "a")
    moment = await store.now()
    assert 0 <= time.time() - moment < 1
    [entry] = await store.read_before(room, None, 1, LIMITS)
    assert entry.at <= moment


@pytest.mark.parametrize(("kind", "ascend"), [("sqlite", True), ("postgres", False)])
async def test_the_times_of_a_room_ascend_in_sqlite(request: pytest.FixtureRequest, kind: str, ascend: bool) -> None:
    """A process may wait for the lock of the room longer than another one. A wrong clock must not spoil the others."""
    store, room = request.getfixturevalue(kind)(), new_room()
    await append(store, room, "a")
    now = round(time.time() * 1000)

    def append_late() -> None:
        with transaction.atomic(using=f"history-{kind}"):
            DatabaseHistory(using=f"history-{kind}")._append_to(room, new_events(room, ["late"]), now - 1000)
        connections.close_all()

    await asyncio.to_thread(append_late)
    first, late = await store.read_before(room, None, 2, LIMITS)
    assert (late.at == first.at) == ascend
    assert (late.at < first.at) != ascend
