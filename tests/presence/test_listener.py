"""A listener in a reserved room: it receives, and nothing lists it."""

import asyncio

import pytest

from django_etp.hub.queries import answer
from django_etp.presence.listener import Listener
from django_etp.presence.messages import Digest, Message
from tests.support.hurry import hurried
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
