"""The entries of ended processes: kept for the grace, and moved to a room that is opened."""

import asyncio
from dataclasses import replace

import pytest

from django_etp.presence.entries import Entry
from django_etp.presence.messages import Farewell, room_id
from django_etp.presence.tracker import tracker_of
from tests.support.hurry import hurried
from tests.support.presence import ROOM, hubs, present, sit

pytestmark = pytest.mark.usefixtures("layer")
ID = room_id(*ROOM)


def entry(key: str, floor: int = 1) -> Entry:
    return Entry(key, "{}", 1.0, 1.0, 0, floor)


@hurried
async def test_entries_are_kept_for_the_grace_with_and_without_the_room():
    async with hubs(1) as (hub,):
        orphans = tracker_of(hub)._orphans
        orphans.keep(Farewell("a", {ID: (entry("bob"),)}))
        orphans.keep(Farewell("a", {ID: (entry("cleo"),)}))
        assert await present(hub) == {"bob": 1, "cleo": 1}
        await asyncio.sleep(5)
        ana = await sit(hub, "ana")
        assert ana.counts == {"ana": 1, "bob": 1, "cleo": 1}
        assert list(orphans.shares(ID)) == []
        orphans.keep(Farewell("b", {ID: (entry("bob", 2),), "other": (entry("dora"),)}))
        await asyncio.sleep(1)
        assert ana.counts == {"ana": 1, "bob": 2, "cleo": 1}
        await asyncio.sleep(5)
        assert ana.counts == {"ana": 1, "bob": 2}
        await asyncio.sleep(5)
        assert ana.counts == {"ana": 1}
        assert list(orphans.shares("other")) == []


@hurried
async def test_a_process_that_goes_on_after_all_is_no_orphan():
    async with hubs(2) as (here, there):
        ana, _ = await sit(here, "ana"), await sit(there, "bob")
        await asyncio.sleep(1)
        tracker = tracker_of(here)
        bob = tracker.rooms[ID].table.shares[there.id].entries["bob"]
        tracker._orphans.keep(Farewell(there.id, {ID: (replace(bob, connections=0, floor=1),)}))
        await asyncio.sleep(30)
        assert ana.changes == [("joined", "bob")]
        assert ana.counts == {"ana": 1, "bob": 1}
