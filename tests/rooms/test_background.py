"""Batches in processes of their own: a broker that hangs or is down, forks, and the end of the process."""

import asyncio
import json
import subprocess
import sys
from textwrap import dedent
from typing import Any

import pytest

from django_etp.rooms import background
from django_etp.rooms.batch import Batch
from tests.support.batches import Site, sends
from tests.support.servers import ROOT
from tests.support.valkey import Valkey, start_valkey

HEAD = """
import json, os, signal, threading, time
import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_etp"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    CHANNEL_LAYERS=THE_LAYERS,
    ROOT_URLCONF="tests.urls",
)
django.setup()
from django.db import connection
from django.db.transaction import atomic, on_commit
from django_etp import on_error, rooms

told = []

@on_error
def keep(connection, error):
    told.append(f"{type(error).__name__}: {error}")

def commit(event, room="lobby"):
    '''Emit within a transaction; return how long the commit took.'''
    with atomic():
        rooms.emit_on_commit(room, event)
        before = time.monotonic()
    return time.monotonic() - before

def print_and_tell(**facts):
    print(json.dumps(facts), flush=True)
"""


@pytest.fixture(scope="module")
def valkey() -> Any:
    with start_valkey() as valkey:
        yield valkey


def run(valkey: Valkey, program: str) -> tuple[dict[str, Any], list[str]]:
    """Return the facts that a program prints, and the messages that it published to rooms."""
    assert valkey.process is not None
    layers = valkey.layers("pubsub")
    text = (
        (dedent(HEAD) + dedent(program)).replace("THE_LAYERS", repr(layers)).replace("BROKER", str(valkey.process.pid))
    )
    with valkey.monitored() as traffic:
        command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", text]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
        published = [line.partition('"PUBLISH" "asgi__group__etp.room.')[2] for line in traffic().splitlines()]
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout or "{}"), list(dict.fromkeys(filter(None, published)))  # a retry is the same message


def test_a_transaction_is_one_publish_for_each_room(valkey: Valkey):
    facts, published = run(
        valkey,
        """
        with atomic():
            for number in range(500):
                rooms.emit_on_commit("lobby", "changed", number)
                rooms.emit_on_commit("lobby", "changed", number, key=5)
        with atomic():
            for number in range(100):
                rooms.emit_on_commit("one", "changed", number)
                rooms.emit_on_commit("other", "changed", number)
        """,
    )
    assert facts == {}
    assert len(published) == 2 + 2  # 501 events are more than a message holds


def test_a_broker_that_hangs_holds_no_commit_up_and_then_gets_what_waited_in_order(valkey: Valkey):
    facts, published = run(
        valkey,
        """
        commit("first")
        os.kill(BROKER, signal.SIGSTOP)
        times = [commit(f"waiting{number}", f"room{number % 3}") for number in range(20)]
        threading.Timer(0.5, os.kill, (BROKER, signal.SIGCONT)).start()
        before = time.monotonic()
        rooms.emit("last", "last")
        print_and_tell(slowest=max(times), waited=time.monotonic() - before, told=told)
        """,
    )
    assert facts["slowest"] < 0.3
    assert facts["told"] == []
    heard = [
        word for line in published for word in ["first", *(f"waiting{n}|" for n in range(20)), "last"] if word in line
    ]
    assert heard == ["first", *(f"waiting{n}|" for n in range(20)), "last"]


def test_a_broker_that_is_down_is_reported_and_later_callbacks_run(valkey: Valkey):
    facts, _ = run(
        valkey,
        """
        layer = settings.CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]
        layer["address"] = "redis://127.0.0.1:1/0"
        called = []
        with atomic():
            rooms.emit_on_commit("lobby", "news")
            on_commit(lambda: called.append("later"))
        deadline = time.monotonic() + 30
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        print_and_tell(told=told, called=called)
        """,
    )
    assert facts["called"] == ["later"]
    (text,) = facts["told"]
    assert text.startswith("LayerUnavailable: Of committed transactions, 1 event may not have reached other processes")


@pytest.mark.parametrize("fork", [False, True], ids=["plain", "forked"])
def test_a_process_that_ends_waits_for_its_batches(valkey: Valkey, fork: bool):
    ending = """
        rooms.emit("lobby", "warm")
        def end():
            os.kill(BROKER, signal.SIGSTOP)
            commit("at the end")
            os.system("(sleep 1; kill -CONT BROKER) &")
        """
    how = """
        import multiprocessing
        child = multiprocessing.get_context("fork").Process(target=end)
        child.start()
        child.join()
        assert child.exitcode == 0
        """
    _, published = run(valkey, dedent(ending) + (dedent(how) if fork else "end()"))
    assert [word for line in published for word in ["warm", "at the end"] if word in line] == ["warm", "at the end"]


def test_a_forked_child_has_no_batches_of_its_parent(valkey: Valkey):
    facts, published = run(
        valkey,
        """
        commit("of the parent")
        os.kill(BROKER, signal.SIGSTOP)
        commit("waits in the parent")
        if os.fork() == 0:
            from django_etp.rooms.background import _under_way
            os.kill(BROKER, signal.SIGCONT)
            commit("of the child")
            rooms.emit("lobby", "last in the child")
            os._exit(len(_under_way.unfinished_since(0)))
        print_and_tell(status=os.wait()[1])
        """,
    )
    assert facts["status"] == 0
    for word in ("of the parent", "waits in the parent", "of the child", "last in the child"):
        assert sum(f"{word}|" in line for line in published) == 1


def test_what_waits_is_bounded_and_the_rest_is_reported_as_lost(valkey: Valkey):
    facts, _ = run(
        valkey,
        """
        commit("first")
        from django_etp.hub.process import process_hub
        hub = process_hub()
        gate = threading.Event()
        hub.loop.call_soon_threadsafe(gate.wait, 30)
        for number in range(3):
            with atomic():
                for each in range(6000):
                    rooms.emit_on_commit("lobby", "news", each)
        gate.set()
        deadline = time.monotonic() + 30
        while not told and time.monotonic() < deadline:
            time.sleep(0.01)
        print_and_tell(told=told)
        """,
    )
    (text,) = facts["told"]
    assert "12,000 events may not have reached other processes" in text


async def test_a_server_that_ends_waits_for_the_batches_of_its_hub():
    site: Any = Site()
    site.is_open.clear()
    batch = Batch(site, sends(("a", "1")), None, background._end)
    background._under_way.add(batch)
    batch.begin()
    ending = asyncio.create_task(background.finish_batches(site))
    await asyncio.sleep(0)
    assert not ending.done()
    site.is_open.set()
    await ending
    assert batch.over.done()
    assert background._under_way.of(site) == []
