"""Histories in memory: what is removed, and when. For what they have in common with others see test_store.py."""

import os
import subprocess
import sys
import time

import pytest

from django_etp import History
from django_etp.history import MemoryHistory, memory
from django_etp.history.store import KEEP_SECONDS, REMEMBERED
from tests.support.histories import append, new_events, new_room, texts
from tests.support.servers import ROOT


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which tests set."""
    now = [time.time()]
    monkeypatch.setattr(memory.time, "time", lambda: now[0])
    monkeypatch.setattr(memory, "_rooms", memory._Rooms())
    return now


async def test_rooms_that_are_silent_lose_their_events_and_then_go(now: list[float]) -> None:
    store, limits = MemoryHistory(), History(seconds=10)
    rooms = [new_room() for _ in range(100)]
    for room in rooms:
        await append(store, room, "a", limits=limits)
    now[0] += 11
    for _ in range(50):
        await append(store, new_room(), "b")
    assert sum(len(room.entries) for room in memory._rooms.by_name.values()) == 50
    assert set(await store.positions(rooms)) == set(rooms)
    now[0] += KEEP_SECONDS + 1000
    for _ in range(150):
        await store.position("other")
    assert await store.positions(rooms) == {}
    assert list(memory._rooms.by_name) == ["other"]


async def test_rooms_without_events_go_if_there_are_too_many(now: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MANY_ROOMS", 10)
    store, used = MemoryHistory(), new_room()
    [first] = await append(store, used, "a")
    for _ in range(100):
        await store.position(new_room())
        assert len(memory._rooms.by_name) <= 11
    assert await store.position(used) == first
    assert texts(memory._rooms.by_name[used].entries) == ["a"]


async def test_only_so_many_durable_events_are_remembered(now: list[float]) -> None:
    store, room = MemoryHistory(), new_room()
    for number in range(REMEMBERED + 10):
        await store.append(new_events(room, "a", emission=f"~{number}"))
    assert len(memory._rooms.by_name[room]._sent) == REMEMBERED
    [again, late] = await store.append([*new_events(room, "a", emission="~10"), *new_events(room, "a", emission="~9")])
    assert (again.position.number, again.is_first) == (11, False)
    assert late.is_first


async def test_a_history_keeps_no_more_than_its_size(now: list[float]) -> None:
    store, room = MemoryHistory(), new_room()
    await store.append(new_events(room, "abcdef", History(size=3)))
    assert texts(memory._rooms.by_name[room].entries) == ["d", "e", "f"]


def test_the_child_of_a_fork_begins_with_other_epochs() -> None:
    code = """
import asyncio, os, sys
from django_etp.history.memory import MemoryHistory, _rooms
before = asyncio.run(MemoryHistory().position("room"))
_rooms.lock.acquire()  # as by another thread
child = os.fork()
if not child:
    after = asyncio.run(MemoryHistory().position("room"))
    os._exit(0 if after.epoch != before.epoch else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
