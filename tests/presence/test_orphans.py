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
        orphans.keep(Farewell("a", {ID: (entry("bob"),)}, 10))
        orphans.keep(Farewell("a", {ID: (entry("cleo"),)}, 10))
        assert await present(hub) == {"bob": 1, "cleo": 1}
        await asyncio.sleep(5)
        ana = await sit(hub, "ana")
        assert ana.counts == {"ana": 1, "bob": 1, "cleo": 1}
        assert list(orphans.shares(ID)) == []
        orphans.keep(Farewell("b", {ID: (entry("bob", 2),), "other": (entry("dora"),)}, 10))
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
        tracker._orphans.keep(Farewell(there.id, {ID: (replace(bob, connections=0, floor=1),)}, 10))
        await asyncio.sleep(30)
        assert ana.changes == [("joined", "bob")]
        assert ana.counts == {"ana": 1, "bob": 1}


@hurried
async def test_what_is_passed_on_is_dropped_at_the_same_time():
    async with hubs(2) as (here, there):
        first, second = tracker_of(here)._orphans, tracker_of(there)._orphans
        first.keep(Farewell("a", {ID: (entry("bob"),), "other": (entry("dora"),)}, 10))
        await sit(here, "ana")
        await asyncio.sleep(7)
        passed = list(first.farewells())
        assert [list(each.rooms) for each in passed] == [[ID, "other"]]
        for each in passed:
            second.keep(each)
        await asyncio.sleep(2)
        assert [len(list(second.shares(id))) for id in (ID, "other")] == [1, 1]
        await asyncio.sleep(2)
        assert list(first.farewells()) == list(second.farewells()) == []
        assert [len(list(second.shares(id))) for id in (ID, "other")] == [0, 0]


@hurried
async def test_no_farewell_keeps_entries_for_longer_than_the_grace():
    async with hubs(1) as (hub,):
        tracker_of(hub)._orphans.keep(Farewell("a", {ID: (entry("bob"),)}, 1e9))
        await asyncio.sleep(9)
        assert await present(hub) == {"bob": 1}
        await asyncio.sleep(2)
        assert await present(hub) == {}
