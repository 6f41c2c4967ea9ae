"""Which hub a process uses: with connections or without, from its event loops and from its threads."""

import asyncio
import gc
import json
import subprocess
import sys
import weakref
from textwrap import dedent
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from django_etp import rooms
from django_etp.hub.process import process_hub, serving_hub
from django_etp.testing import EtpCommunicator
from tests.support.inprocess import Wire
from tests.support.rooms import clients, got
from tests.support.valkey import start_valkey

pytestmark = pytest.mark.usefixtures("etp_registry")


def test_a_process_without_connections_has_no_hub_if_its_layer_is_in_memory(settings: Any) -> None:
    assert process_hub() is None
    settings.CHANNEL_LAYERS = {}
    assert process_hub() is None


async def test_the_hub_of_a_loop_that_serves_is_that_of_all_threads() -> None:
    assert process_hub() is None
    async with Wire():
        hub = serving_hub()
        assert serving_hub() is process_hub() is hub
        assert await asyncio.to_thread(process_hub) is hub


async def test_each_loop_that_serves_has_a_hub_of_its_own() -> None:
    async def elsewhere() -> tuple[Any, Any]:
        async with Wire():
            return serving_hub(), process_hub()

    async with Wire():
        serving, used = await asyncio.to_thread(asyncio.run, elsewhere())
        assert serving is used is not serving_hub()
        assert process_hub() is serving_hub()


def test_a_loop_that_has_ended_is_forgotten_with_the_next() -> None:
    async def connect() -> weakref.ref[asyncio.AbstractEventLoop]:
        async with EtpCommunicator(user=AnonymousUser()):
            return weakref.ref(asyncio.get_running_loop())

    first = asyncio.run(connect())
    asyncio.run(connect())
    gc.collect()
    assert first() is None


def test_a_loop_that_rests_between_two_runs_keeps_no_sender_waiting() -> None:
    """As that of a test runner whose async tests share one loop, with plain tests between them."""

    async def converse() -> list[list[str]]:
        async with clients("lobby") as (client,):
            await rooms.aemit("lobby", "news")
            return await got(client)

    with asyncio.Runner() as runner:
        assert runner.run(converse()) == [["news"]]
        rooms.emit("lobby", "news")
        assert rooms.count("lobby") == 0
        assert runner.run(converse()) == [["news"]]


PROGRAM = """
import asyncio, json, os, threading, time
import django
from django.conf import settings

apps = ["django.contrib.auth", "django.contrib.contenttypes", "django_etp"]
settings.configure(INSTALLED_APPS=apps, CHANNEL_LAYERS={layers}, ROOT_URLCONF="tests.urls")
django.setup()
from django_etp import rooms
from django_etp.hub.process import process_hub, serving_hub

def background_threads():
    return [thread for thread in threading.enumerate() if thread.name == "etp-background"]

facts = {}
rooms.emit("lobby", "news")
hub = process_hub()
facts["is made once"] = process_hub() is hub and len(background_threads()) == 1
facts["has a loop of its own"] = hub.loop.is_running()

reader, writer = os.pipe()
if os.fork() == 0:
    os.write(writer, json.dumps([background_threads() == [], process_hub().id]).encode())
    os._exit(0)
is_alone, id_of_child = json.loads(os.read(reader, 1000))
facts["a forked child has its own"] = is_alone and id_of_child != hub.id

async def serve():
    (thread,) = background_threads()
    serving = serving_hub()
    facts["a hub that serves takes over"] = process_hub() is serving is not hub
    deadline = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    facts["and the background hub ends"] = not thread.is_alive() and hub.loop.is_closed()

asyncio.run(serve())
rooms.emit("lobby", "news")
facts["until the loop that serves has ended"] = process_hub() is not hub and len(background_threads()) == 1
print(json.dumps(facts))
"""


def test_a_process_without_connections_sends_through_a_background_hub() -> None:
    with start_valkey() as valkey:
        program = dedent(PROGRAM).replace("{layers}", repr(valkey.layers("pubsub")))
        # Since Python 3.12 os.fork() warns of the threads of its process.
        command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", program]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert result.stderr == ""
    facts = json.loads(result.stdout)
    assert len(facts) == 6
    assert all(facts.values()), facts
