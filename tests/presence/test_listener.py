"""A listener in a reserved room: it receives, and nothing lists it."""

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_etp.contrib.opentelemetry import spans
from django_etp.hub.queries import answer
from django_etp.presence.listener import Listener
from django_etp.presence.messages import Digest, Message
from tests.contrib.opentelemetry.conftest import recorded as recorded
from tests.support.hurry import hurried
from tests.support.inprocess import until
from tests.support.presence import hubs

pytestmark = pytest.mark.usefixtures("layer")


@hurried
async def test_it_receives_what_others_send_and_not_its_own():
    async with hubs(2) as (here, there):
        got: list[Message] = []
        ours, theirs = Listener(here, "", got.append), Listener(there, "", lambda message: None)
        await ours.listen("__test")
        await theirs.listen("__test")
        ours.send("__test", Digest("h", 1).encode())
        theirs.send("__test", "malformed")
        theirs.send("__test", Digest("h", 2).encode())
        await asyncio.sleep(0.1)
        assert got == [Digest("h", 2)]
        ours.close()
        await asyncio.sleep(0.1)
        theirs.send("__test", Digest("h", 3).encode())
        await asyncio.sleep(0.1)
        assert got == [Digest("h", 2)]
        assert here.membership.room(("", "__test")) == {}


@hurried
async def test_it_is_counted_and_listed_nowhere():
    async with hubs(1) as (hub,):
        listener = Listener(hub, "", lambda message: None)
        await listener.listen("__test")
        assert hub.membership.all() == []
        assert hub.membership.members("", "__test") == []
        assert hub.membership.names("") == []
        for action in ("ids", "names"):
            assert await answer(hub, action, [""]) == []


async def test_its_messages_are_no_part_of_the_callers_trace(recorded: InMemorySpanExporter):
    async with hubs(2) as (here, there):
        got: list[Message] = []
        ours, theirs = Listener(here, "", got.append), Listener(there, "", lambda message: None)
        await ours.listen("__test")
        with spans.tracer.start_as_current_span("join"):
            theirs.send("__test", Digest("h", 1).encode())
        await until(lambda: got == [Digest("h", 1)])
    assert [span.name for span in recorded.get_finished_spans()] == ["join"]
