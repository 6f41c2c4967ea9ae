"""The rooms that a process follows in a real Valkey server."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from django_etp.history.following import Following
from django_etp.history.redis import RedisHistory
from django_etp.history.store import Entry
from tests.support.histories import LIMITS, append, new_room, redis_history
from tests.support.inprocess import until
from tests.support.valkey import Valkey, start_valkey


class Follower:
    """What one process has received of the rooms that it follows."""

    def __init__(self, store: RedisHistory) -> None:
        self.store = store
        self.seen: list[tuple[str, Entry]] = []
        self.times_missed = 0
        self.following: Following = store.follow(lambda room, entry: self.seen.append((room, entry)), self._miss)

    def _miss(self) -> None:
        self.times_missed += 1

    def of(self, room: str) -> list[str]:
        return [entry.text for of, entry in self.seen if of == room]


@pytest_asyncio.fixture
async def follower(valkey: Valkey) -> AsyncIterator[Follower]:
    store = redis_history(valkey)
    assert isinstance(store, RedisHistory)
    follower = Follower(store)
    yield follower
    await follower.following.close()
    await store.close()


async def test_events_come_once_in_order_with_their_positions(follower: Follower) -> None:
    room, other = new_room(), new_room()
    await append(follower.store, room, "before")
    await follower.following.add(room)
    await follower.following.add(other)
    positions = await append(follower.store, room, "a", "ü||\x00", exclude=frozenset({"x"}))
    await append(follower.store, other, "b", emission="~1")
    await append(follower.store, other, "b", emission="~1")
    await append(follower.store, room, "last")
    await until(lambda: "last" in follower.of(room))
    assert follower.of(room) == ["a", "ü||\x00", "last"]
    assert follower.of(other) == ["b"]
    entries = (await follower.store.read_before(room, None, 3, LIMITS))[:2]
    assert [entry for of, entry in follower.seen if of == room][:2] == entries
    assert [entry.position for entry in entries] == positions
    assert follower.times_missed == 0


async def test_a_room_that_was_left_brings_nothing(follower: Follower) -> None:
    room, other = new_room(), new_room()
    await follower.following.add(room)
    await follower.following.add(other)
    follower.following.discard(room)
    await append(follower.store, room, "a")
    await append(follower.store, other, "b")
    await until(lambda: follower.of(other))
    assert follower.of(room) == []
    follower.following.discard(room)


async def test_a_room_that_is_left_and_entered_at_once_brings_all(follower: Follower) -> None:
    room = new_room()
    await follower.following.add(room)
    for number in range(20):
        follower.following.discard(room)
        await follower.following.add(room)
        await append(follower.store, room, str(number))
    await until(lambda: len(follower.of(room)) >= 20)
    assert follower.of(room) == [str(number) for number in range(20)]


async def test_a_follower_is_told_that_the_connection_was_lost_and_goes_on() -> None:
    with start_valkey() as valkey:
        store = redis_history(valkey)
        assert isinstance(store, RedisHistory)
        follower, room = Follower(store), new_room()
        await follower.following.add(room)
        await append(store, room, "a")
        await until(lambda: follower.of(room) == ["a"])
        # As an administrator, or a proxy, does.
        valkey.command("CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: follower.times_missed == 1)
        await append(store, room, "b")
        await until(lambda: follower.of(room) == ["a", "b"])
        valkey.kill()
        follower.following.discard(room)
        valkey.start()
        await until(lambda: follower.times_missed == 2)
        await follower.following.add(room)
        await append(store, room, "c")
        await until(lambda: follower.of(room) == ["a", "b", "c"])
        await follower.following.close()
        await store.close()
        await until(lambda: b"type=pubsub" not in valkey.command("CLIENT", "LIST"))


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from django_etp.history import following

    monkeypatch.setattr(following, "_PING_EVERY", 0.05)
    monkeypatch.setattr(following, "_SILENCE_LIMIT", 0.2)
    monkeypatch.setattr(following, "_JOIN_LIMIT", 0.2)
    with start_valkey() as valkey:
        store = redis_history(valkey)
        assert isinstance(store, RedisHistory)
        follower, room = Follower(store), new_room()
        await follower.following.add(new_room())
        await until(lambda: valkey.command("CLIENT", "LIST").count(b"cmd=ping") == 1)
        valkey.pause()
        await follower.following.add(room)  # returns, though nothing confirms it
        await until(lambda: follower.following._pubsub is None)
        valkey.resume()
        await until(lambda: follower.times_missed >= 1)
        await follower.following.add(room)
        await append(store, room, "a")
        await until(lambda: follower.of(room) == ["a"])
        await follower.following.close()
        await store.close()
