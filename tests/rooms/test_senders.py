"""The rooms API from every kind of sender: alike, at no cost per call, and gone without a trace.

The members are in two server processes, a daphne and a uvicorn.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import urlencode

import django
import pytest
from django.utils.module_loading import module_has_submodule

from tests.support.audience import Listener, listener
from tests.support.peers import connect, eventually, receive
from tests.support.servers import ROOT, Server, start_process, start_server
from tests.support.valkey import start_valkey

PROCESSES = ["script", "loop", "thread", "command", *(["tasks"] if module_has_submodule(django, "tasks") else [])]

# What each layer is told, and how many events follow all else.
CONFIG: dict[str, tuple[dict[str, Any], int]] = {"pubsub": ({}, 1000), "redis": ({"capacity": 20_000}, 300)}

# A process that is done must be gone after this many seconds, fewer than any of its limits.
GONE_WITHIN = 6.0

_numbers = count(1)


@dataclass
class Place:
    """Two servers with members, and what may send to them; the rest is started where a test asks for it."""

    settings: dict[str, Any]
    many: int
    here: Server
    there: Server
    stack: ExitStack
    others: dict[str, Server] = field(default_factory=dict)

    def server(self, kind: str) -> Server:
        """Return a server by what it is here: "daphne" and "uvicorn" have members, "alone" and "wsgi" have none."""
        if kind in ("daphne", "uvicorn"):
            return self.here if kind == "daphne" else self.there
        if kind not in self.others:
            starting = (
                start_server("uvicorn", settings=self.settings)
                if kind == "alone"
                else start_process("wsgi", ["tests.site.wsgi"], settings=self.settings)
            )
            self.others[kind] = self.stack.enter_context(starting)
        return self.others[kind]


@pytest.fixture(scope="module", params=CONFIG)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with start_valkey() as valkey, ExitStack() as stack:
        config, many = CONFIG[request.param]
        settings = {"CHANNEL_LAYERS": valkey.layers(request.param, **config)}
        here = stack.enter_context(start_server("daphne", settings=settings))
        there = stack.enter_context(start_server("uvicorn", settings=settings))
        place = Place(settings, many, here, there, stack)
        yield place
        for server in (here, there, *place.others.values()):
            server.stop()
            assert server.complaints == []
            assert "Traceback" not in server.log
            assert "event loop" not in server.log
            assert "lost" not in server.log


@dataclass(frozen=True)
class Members:
    """Whom one exercise is for."""

    room: str
    here: Listener
    there: Listener
    leaving: Listener
    many: int

    @property
    def names(self) -> dict[str, str]:
        ids = {"here": self.here.id, "there": self.there.id, "leaving": self.leaving.id}
        return {"room": self.room, **ids, "many": str(self.many)}

    async def expect(self, outcome: dict[str, Any]) -> None:
        """Fail where what a sender saw, or what the members heard, is anything but what it must be."""
        assert outcome["outcomes"] == self._outcomes()
        many = [("many", str(number)) for number in range(self.many)]
        for member, expected in ((self.here, self._heard_here()), (self.there, self._heard_there())):
            # Others broadcast, too; and questions go another way than what is only sent.
            last = {many[-1], *expected}
            await member.hear_until(lambda heard=member.heard, last=last: last <= set(heard), timeout=30)
            heard = [event for event in member.heard if event[0] != "to all" or event[1] == self.room]
            assert sorted(event for event in heard if event[0] != "many") == sorted(expected)
            assert [event for event in heard if event[0] == "many"] == many
        assert (await self.leaving.expect_close())[0] == 4001
        # That of the members' processes may grow by what happens to run at the same time.
        assert outcome["loops"] == 0
        assert outcome["connections"] < 10

    def _heard_here(self) -> list[tuple[str, str]]:
        return [("news", '{"n":1}'), ("once", ""), ("ask", "??"), ("to all", self.room)]

    def _heard_there(self) -> list[tuple[str, str]]:
        return [*self._heard_here(), ("news", "not here"), ("to", "you"), ("ask", "?")]

    def _outcomes(self) -> list[list[Any]]:
        here, there, leaving = self.here.id, self.there.id, self.leaving.id
        return [
            ["emit", None],
            ["emit", None],
            ["join", None],
            ["count", 1],
            ["names", [self.room, f"{self.room}-b"]],
            ["emit", None],
            ["leave", None],
            ["count", 0],
            ["members", sorted([here, there])],
            ["connections", sorted([here, there, leaving])],
            ["get", [self.room]],
            ["get", None],
            ["emit_to", None],
            ["emit_to", None],
            ["emit_to_with_ack", "?"],
            ["emit_with_ack", sorted([[here, "answered"], [there, "answered"]])],
            ["broadcast", None],
            ["clear", None],
            ["disconnect", None],
            ["disconnect", "ConnectionClosed"],
            ["join", "ConnectionClosed"],
            ["count", "InvalidRoomName"],
            ["emit", "InvalidEventName"],
            ["emit", "InvalidPayload"],
        ]


async def _members(place: Place) -> AsyncIterator[Members]:
    room = f"room-{next(_numbers)}"
    async with (
        listener(place.here, room) as here,
        listener(place.there, room) as there,
        listener(place.there) as leaving,
    ):
        yield Members(room, here, there, leaving, place.many)


members = pytest.fixture(_members, name="members")
more_members = pytest.fixture(_members, name="more_members")


async def run(place: Place, command: Sequence[str], *names: dict[str, str], warnings: Sequence[str] = ()) -> list[Any]:
    """Run `python -m` with a command and these names on stdin; return what it prints.

    Fail where it says anything else, warns, or is not gone 2 s after it was done.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", *warnings, "-m", *command),
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.site.settings",
            "SITE_SETTINGS": json.dumps(place.settings),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(110):
            out, complaints = await process.communicate("\n".join(map(json.dumps, names)).encode())
        ended_at = time.monotonic()
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, complaints.decode()) == (0, "")
    outcomes, done_at = json.loads(out)
    assert ended_at - done_at < GONE_WITHIN
    return list(outcomes)


@pytest.mark.parametrize("event", ["exercise", "exercise_sync"])
@pytest.mark.parametrize("by", ["here", "there"])
async def test_handlers(members, event, by):
    sender = getattr(members, by)
    await members.expect(json.loads(await sender.ask(event, members.names, timeout=100)))


@pytest.mark.parametrize("url", ["/exercise/", "/exercise-async/"])
@pytest.mark.parametrize("kind", ["daphne", "uvicorn", "alone", "wsgi"])
async def test_views(place, members, kind, url):
    server = await asyncio.to_thread(place.server, kind)
    outcome = await asyncio.to_thread(server.get_json, f"{url}?{urlencode(members.names)}", timeout=100)
    await members.expect(outcome)


@pytest.mark.parametrize("url", ["/ask/", "/ask-async/"])
async def test_a_question_outlives_the_coming_of_the_process_s_first_connection(place, url):
    with start_server("uvicorn", settings=place.settings) as server:
        async with connect(place.here, "/cluster/") as asked:
            await asked.send("id||1")
            id = str(await receive(asked)).rpartition("||")[2]
            asking = asyncio.create_task(asyncio.to_thread(server.get_json, f"{url}?id={id}", timeout=60))
            question = str(await receive(asked)).split("||")
            async with listener(server) as first:
                # What the first connection began is over for long when the answer comes.
                assert await first.call("call", "count", "nobody") == 0
                await asyncio.sleep(3)
                assert not asking.done()
                await asked.send(f"__ack_ask||{question[1]}||late")
                assert await asking == {"answer": "late"}
                # What it was asked through ends then.
                look = partial(asyncio.to_thread, server.get_json, "/process/")
                await eventually(look, lambda process: process["background_hubs"] == 0)
        server.stop()
        assert server.complaints == []


@pytest.mark.parametrize("kind", PROCESSES)
async def test_processes_of_their_own(place, members, kind):
    if kind == "command":
        (outcome,) = await run(place, ["django", "exercise", json.dumps(members.names)])
    else:
        (outcome,) = await run(place, ["tests.site.sender", kind], members.names)
    await members.expect(outcome)


async def test_green_threads(place, members):
    """As a Celery worker has them with `--pool=gevent`: the event loop is in a green thread beside the sender's."""
    (outcome,) = await run(
        place,
        ["gevent.monkey", "--module", "tests.site.sender", "script"],
        members.names,
        warnings=["-W", "ignore::DeprecationWarning"],  # gevent's own
    )
    await members.expect(outcome)


async def test_forked_child_and_its_parent(place, members, more_members):
    # From 3.12 on Python warns of any fork beside a thread.
    outcomes = await run(
        place,
        ["tests.site.sender", "fork"],
        members.names,
        more_members.names,
        warnings=["-W", "ignore:This process:DeprecationWarning"],
    )
    for each, outcome in zip((members, more_members), outcomes, strict=True):
        await each.expect(outcome)


async def test_celery_worker(place, members, more_members):
    with start_process(
        "celery",
        ["celery", "-A", "tests.site.celery_app", "worker", "--pool=prefork", "--concurrency=2", "-l", "INFO"],
        settings=place.settings,
        ready=r"celery@\S+ ready",
    ) as worker:
        outcomes = await run(place, ["tests.site.sender", "celery"], members.names, more_members.names)
        for each, outcome in zip((members, more_members), outcomes, strict=True):
            await each.expect(outcome)
        assert outcomes[0]["worker"] != outcomes[1]["worker"]
        stopping_at = time.monotonic()
        await asyncio.to_thread(worker.stop)
        assert time.monotonic() - stopping_at < 10
        for complaint in ("Traceback", "ERROR", "event loop", "Exception"):
            assert complaint not in worker.log
