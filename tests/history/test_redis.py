"""Histories in a real Valkey server: its connections, and its failures. For the rest see test_store.py."""

import asyncio
import os
import subprocess
import sys

import pytest

from django_etp import HistoryUnavailable
from django_etp.history import RedisHistory, redis
from tests.support.histories import LIMITS, append, new_events, new_room, redis_history, texts
from tests.support.servers import ROOT
from tests.support.valkey import Valkey, start_valkey


async def test_a_server_that_comes_back_empty_is_used_at_once() -> None:
    with start_valkey() as valkey:
        store, room = redis_history(valkey), new_room()
        # Several connections, of which the pool knows that they are closed.
        await asyncio.gather(*(append(store, room, str(number)) for number in range(5)))
        before = await store.position(room)
        valkey.kill()
        for call in (append(store, room, "a"), store.position(room), store.positions([room])):
            with pytest.raises(HistoryUnavailable, match="could not be reached"):
                await call
        with pytest.raises(HistoryUnavailable, match="could not be reached"):
            await store.read_before(room, None, 1, LIMITS)
        valkey.start()
        await asyncio.gather(*(append(store, room, str(number)) for number in range(5)))
        position = await store.position(room)
        assert position.number == 5
        assert position.epoch != before.epoch
        assert await store.read_after(room, before, LIMITS) == (position, None)
        await store.close()


async def test_scripts_that_the_server_has_forgotten_are_sent_again(valkey: Valkey) -> None:
    store, room = redis_history(valkey), new_room()
    await append(store, room, "a")
    valkey.command("SCRIPT", "FLUSH")
    assert [each.position.number for each in await store.append(new_events(room, "bc"))] == [2, 3]
    valkey.command("SCRIPT", "FLUSH")
    assert texts(await store.read_before(room, None, 9, LIMITS)) == ["a", "b", "c"]
    await store.close()


async def test_an_error_of_the_server_is_raised(valkey: Valkey) -> None:
    store, room = redis_history(valkey), new_room()
    valkey.command("SET", f"{{{room}}}.history.state", "of another kind")
    with pytest.raises(HistoryUnavailable, match="WRONGTYPE"):
        await store.append(new_events(room, "ab"))
    await store.close()


async def test_a_server_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "_LIMIT", 0.2)
    with start_valkey() as valkey:
        store, room = redis_history(valkey), new_room()
        await append(store, room, "a")
        valkey.pause()
        with pytest.raises(HistoryUnavailable):
            await append(store, room, "b")
        valkey.resume()
        await append(store, room, "c")
        await store.close()


async def test_a_store_has_few_connections_and_closes_them() -> None:
    with start_valkey() as valkey:
        store = redis_history(valkey)
        await asyncio.gather(*(store.position(new_room()) for _ in range(200)))
        assert valkey.command("CLIENT", "LIST").count(b"\n") <= 17
        await store.close()
        assert valkey.command("CLIENT", "LIST").count(b"\n") == 1
        await append(store, new_room(), "a")  # it can be used again
        await store.close()


@pytest.mark.parametrize("options", [{}, {"url": "redis://x", "size": 5}, {"url": "ftp://x"}])
def test_options_that_it_does_not_know_are_refused(options: dict[str, str]) -> None:
    with pytest.raises((TypeError, ValueError)):
        RedisHistory(**options)


def test_a_child_of_a_fork_has_connections_of_its_own(valkey: Valkey) -> None:
    code = """
import asyncio, os, sys
from django.conf import settings
settings.configure()
from django_etp import History
from django_etp.history import RedisHistory
from django_etp.history.store import NewEvent
event = NewEvent("etp.room.forked", "x", History())
loop, store = asyncio.new_event_loop(), RedisHistory(url=sys.argv[1])
loop.run_until_complete(store.append([event]))
child = os.fork()
if not child:
    async def append():
        own = RedisHistory(url=sys.argv[1])
        for _ in range(200):
            await own.append([event])
    asyncio.run(append())
    os._exit(0)
for _ in range(200):
    loop.run_until_complete(store.append([event]))
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert loop.run_until_complete(store.position("etp.room.forked")).number == 401
loop.run_until_complete(store.close())
"""
    url = f"redis://127.0.0.1:{valkey.port}/0"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code, url], env=environment, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
