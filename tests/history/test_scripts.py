"""The scripts in a real Valkey server: their keys, and what they keep."""

from collections.abc import AsyncIterator

import pytest_asyncio

from django_etp import History
from django_etp.history.store import KEEP_SECONDS, REMEMBERED, Store
from tests.support.histories import append, new_events, new_room, redis_history
from tests.support.valkey import Valkey


@pytest_asyncio.fixture
async def store(valkey: Valkey) -> AsyncIterator[Store]:
    store = redis_history(valkey)
    yield store
    await store.close()


def seconds_left(valkey: Valkey, key: str) -> float:
    left: int = valkey.command("PTTL", key)
    return left / 1000


async def test_the_keys_of_a_room_are_on_one_node_of_a_cluster_and_expire(store: Store, valkey: Valkey) -> None:
    room = new_room()
    await append(store, room, "a", emission="~1")
    keys = valkey.keys(f"*{room}*")
    assert keys == [f"{{{room}}}.history.{name}" for name in ("durable", "events", "state")]
    assert 0 < seconds_left(valkey, keys[1]) <= 60
    for key in (keys[0], keys[2]):
        assert KEEP_SECONDS < seconds_left(valkey, key) <= KEEP_SECONDS + 60


async def test_a_position_that_was_only_read_expires_too(store: Store, valkey: Valkey) -> None:
    room = new_room()
    await store.position(room)
    [key] = valkey.keys(f"*{room}*")
    assert 0 < seconds_left(valkey, key) <= KEEP_SECONDS


async def test_a_stream_is_cut_to_its_size_and_age(store: Store, valkey: Valkey) -> None:
    room = new_room()
    await store.append(new_events(room, ["x"] * 1000, History(size=10)))
    assert 10 <= valkey.command("XLEN", f"{{{room}}}.history.events") <= 210
    await store.append(new_events(room, ["x"] * 200, History(size=1000, seconds=0.001)))
    await store.append(new_events(room, ["x"], History(size=1000)))
    assert valkey.command("XLEN", f"{{{room}}}.history.events") <= 101


async def test_the_names_of_durable_events_are_bounded(store: Store, valkey: Valkey) -> None:
    room = new_room()
    limits = History(size=1)
    await store.append([event for n in range(20) for event in new_events(room, ["x"], limits, emission=f"~{n}")])
    await store.append(new_events(room, ["x"] * (REMEMBERED - 10), limits))
    await store.append(new_events(room, ["x"], limits, emission="~last"))
    assert valkey.command("ZCARD", f"{{{room}}}.history.durable") == 10


async def test_events_without_the_state_of_the_room_are_forgotten(store: Store, valkey: Valkey) -> None:
    room = new_room()
    await append(store, room, "a", emission="~1")
    valkey.command("DEL", f"{{{room}}}.history.state")
    start = await store.position(room)
    assert valkey.keys(f"*{room}*") == [f"{{{room}}}.history.state"]
    [again] = await append(store, room, "a", emission="~1")
    assert again == (start.epoch, 1)


async def test_a_clock_that_is_set_back_changes_no_order(store: Store, valkey: Valkey) -> None:
    room = new_room()
    await append(store, room, "a")
    later = 4_000_000_000_000
    valkey.command("HSET", f"{{{room}}}.history.state", "at", str(later))
    positions = await append(store, room, "b", "c")
    assert [position.number for position in positions] == [2, 3]
    entries = await store.read_before(room, None, 2, History())
    assert [entry.at for entry in entries] == [later / 1000] * 2
