"""Presence over several hubs, each of which stands for a process; minutes of waiting pass at once."""

import asyncio

import pytest

from tests.support.hurry import hurried
from tests.support.layers import SharedLayer
from tests.support.presence import cut_off, hubs, kill, present, sit, start_hub, stop

pytestmark = pytest.mark.usefixtures("layer")


@hurried
async def test_members_in_all_processes_see_each_other():
    async with hubs(2) as (here, there):
        ana = await sit(here, "ana")
        bob = await sit(there, "bob")
        assert bob.counts == {"ana": 1, "bob": 1}
        await asyncio.sleep(0.5)
        assert ana.changes == [("joined", "bob")]
        assert bob.changes == []
        assert ana.members == bob.members
        assert await present(here) == await present(there) == {"ana": 1, "bob": 1}
        await bob.leave()
        await asyncio.sleep(0.5)
        assert ana.changes == [("joined", "bob"), ("left", "bob")]
        assert await present(there) == {"ana": 1}


@hurried
async def test_a_user_in_several_processes_is_one_entry():
    async with hubs(2) as (here, there):
        ana = await sit(here, "ana")
        phone, laptop = await sit(here, "bob"), await sit(there, "bob")
        await asyncio.sleep(1)
        assert ana.counts == {"ana": 1, "bob": 2}
        assert len({seat.members["bob"]["since"] for seat in (ana, phone, laptop)}) == 1
        await phone.leave()
        await asyncio.sleep(1)
        assert ana.counts == laptop.counts == {"ana": 1, "bob": 1}
        await laptop.leave()
        await asyncio.sleep(1)
        assert ana.counts == {"ana": 1}
        assert [change for change in ana.changes if change[0] == "left"] == [("left", "bob")]


@hurried
async def test_a_user_who_returns_within_the_grace_in_another_process_does_not_flicker():
    async with hubs(3) as (here, there, elsewhere):
        ana, cleo = await sit(here, "ana"), await sit(elsewhere, "cleo")
        bob = await sit(there, "bob")
        await asyncio.sleep(1)
        told = len(ana.told), len(cleo.told)
        await bob.leave(is_gone=True)
        await asyncio.sleep(5)
        again = await sit(here, "bob")
        assert again.members["bob"] == ana.members["bob"]
        await asyncio.sleep(30)
        assert (len(ana.told), len(cleo.told)) == told
        assert await present(here) == {"ana": 1, "bob": 1, "cleo": 1}


@hurried
async def test_a_connection_that_has_ended_is_gone_after_the_grace():
    async with hubs(2) as (here, there):
        ana, bob, _ = await sit(here, "ana"), await sit(there, "bob"), await sit(there, "bob")
        await asyncio.sleep(1)
        told = len(ana.told)
        await bob.leave(is_gone=True)
        await asyncio.sleep(9.5)
        assert len(ana.told) == told
        assert await present(here) == {"ana": 1, "bob": 2}
        await asyncio.sleep(1)
        assert ana.changes[told:] == [("changed", "bob")]
        assert ana.counts == await present(here) == {"ana": 1, "bob": 1}


@hurried
async def test_the_users_of_a_killed_process_are_gone_within_20_s_and_announced_once():
    async with hubs(3) as (here, there, elsewhere):
        ana, cleo = await sit(here, "ana"), await sit(elsewhere, "cleo")
        for _ in range(2):
            await sit(there, "bob")
        await asyncio.sleep(3)
        kill(there)
        await asyncio.sleep(15)
        assert ana.counts == cleo.counts == {"ana": 1, "bob": 2, "cleo": 1}
        assert await present(here) == ana.counts
        await asyncio.sleep(5)
        for seat in (ana, cleo):
            assert seat.counts == {"ana": 1, "cleo": 1}
            assert [change for change in seat.changes if change[0] == "left"] == [("left", "bob")]
        assert await present(here) == {"ana": 1, "cleo": 1}


@hurried
async def test_a_user_of_a_killed_process_who_returns_elsewhere_does_not_leave():
    async with hubs(2) as (here, there):
        ana, _ = await sit(here, "ana"), await sit(there, "bob")
        await asyncio.sleep(3)
        kill(there)
        await asyncio.sleep(4)
        await sit(here, "bob")
        await asyncio.sleep(30)
        assert ("left", "bob") not in ana.changes
        assert ana.counts == {"ana": 1, "bob": 1}


@hurried
async def test_a_process_that_ends_hands_its_entries_over_to_processes_without_members_too():
    """As in a restart of one process after the other: the first client that returns sees the others."""
    async with hubs(2) as (here, there):
        seats = [await sit(there, key) for key in ("ana", "bob")]
        since = {key: entry["since"] for key, entry in seats[1].members.items()}
        for seat in seats:
            await seat.leave(is_gone=True)
        await stop(there)
        await asyncio.sleep(1)
        assert await present(here) == {"ana": 1, "bob": 1}
        ana = await sit(here, "ana")
        assert {key: entry["since"] for key, entry in ana.members.items()} == since
        await sit(here, "bob")
        await asyncio.sleep(20)
        assert ana.told == []
        assert ana.counts == {"ana": 1, "bob": 1}


@hurried
async def test_entries_that_were_handed_over_are_gone_after_the_grace():
    async with hubs(3) as (here, there, elsewhere):
        cleo = await sit(elsewhere, "cleo")
        seats = [await sit(there, key) for key in ("ana", "bob")]
        await asyncio.sleep(1)
        for seat in seats:
            await seat.leave(is_gone=True)
        await stop(there)
        await asyncio.sleep(9)
        assert cleo.counts == await present(here) == {"ana": 1, "bob": 1, "cleo": 1}
        await asyncio.sleep(2)
        assert cleo.counts == await present(here) == {"cleo": 1}
        assert here.presence.rows("default", "room") == []


@hurried
async def test_the_last_process_waits_a_moment_for_the_next_one():
    async with hubs(1) as (first,):
        seats = [await sit(first, key) for key in ("ana", "bob")]
        for seat in seats:
            await seat.leave(is_gone=True)
        stopping = asyncio.get_running_loop().create_task(stop(first))
        await asyncio.sleep(1)
        second = await start_hub()
        await stopping
        ana = await sit(second, "ana")
        assert ana.counts == {"ana": 1, "bob": 1}
        await stop(second)


@hurried
async def test_the_last_process_ends_soon_if_no_other_one_comes():
    async with hubs(1) as (hub,):
        await (await sit(hub, "ana")).leave(is_gone=True)
        began_at = asyncio.get_running_loop().time()
        await stop(hub)
        assert 1.9 < asyncio.get_running_loop().time() - began_at < 4


@hurried
async def test_a_process_without_entries_does_not_wait():
    async with hubs(1) as (hub,):
        await (await sit(hub, "ana")).leave()
        await asyncio.sleep(1)
        began_at = asyncio.get_running_loop().time()
        await stop(hub)
        assert asyncio.get_running_loop().time() - began_at < 1.5


@hurried
async def test_a_process_that_is_cut_off_for_15_s_shows_no_flicker_on_either_side():
    async with hubs(2) as (here, there):
        ana, bob = await sit(here, "ana"), await sit(there, "bob")
        await asyncio.sleep(3)
        told = len(ana.told), len(bob.told)
        with cut_off(there):
            await asyncio.sleep(15)
        await asyncio.sleep(30)
        assert (len(ana.told), len(bob.told)) == told
        assert ana.counts == bob.counts == {"ana": 1, "bob": 1}


@hurried
async def test_changes_during_a_cut_arrive_after_it():
    async with hubs(2) as (here, there):
        ana, bob = await sit(here, "ana"), await sit(there, "bob")
        cleo = await sit(there, "cleo")
        await asyncio.sleep(3)
        with cut_off(there):
            await cleo.leave()
            dora = await sit(there, "dora")
            await asyncio.sleep(15)
        await asyncio.sleep(10)
        assert ana.counts == bob.counts == dora.counts == {"ana": 1, "bob": 1, "dora": 1}


@hurried
async def test_after_a_cut_of_a_minute_both_sides_are_whole_again():
    async with hubs(2) as (here, there):
        ana, bob = await sit(here, "ana"), await sit(there, "bob")
        cleo = await sit(there, "cleo", "other")
        dora = await sit(here, "dora", "other")
        await asyncio.sleep(3)
        with cut_off(there):
            await asyncio.sleep(30)
            assert ana.counts == {"ana": 1}
            assert bob.counts == {"ana": 1, "bob": 1}
            await dora.leave()
            await asyncio.sleep(1)
        await asyncio.sleep(20)
        assert ana.counts == bob.counts == {"ana": 1, "bob": 1}
        assert cleo.counts == {"cleo": 1}


@hurried
async def test_a_lost_announcement_is_made_up_for_by_a_digest():
    async with hubs(2) as (here, there):
        ana, bob = await sit(here, "ana"), await sit(there, "bob")
        await asyncio.sleep(3)
        SharedLayer.lost = frozenset({(None, "etp.room")})
        cleo = await sit(there, "cleo")
        await asyncio.sleep(0.1)
        SharedLayer.lost = frozenset()
        await asyncio.sleep(8)
        assert ana.counts == bob.counts == cleo.counts == {"ana": 1, "bob": 1, "cleo": 1}


@hurried
async def test_a_room_that_nobody_is_in_costs_nothing():
    async with hubs(2) as (here, there):
        seats = [await sit(here, "ana"), await sit(there, "bob")]
        for seat in seats:
            await seat.leave()
        await asyncio.sleep(1)
        for hub in (here, there):
            assert hub.presence.rooms == {}
            assert [name for _, name in hub.membership._rooms if name and name.startswith("__presence.")] == []


@hurried
async def test_ten_thousand_joins_within_seconds_are_counted_with_bounded_messages():
    async with hubs(2) as (here, there):
        ana = await sit(here, "ana")
        for number in range(5000):
            await sit(here, f"a{number}")
            await sit(there, f"b{number}")
            if number % 50 == 0:
                await asyncio.sleep(0.03)  # 100 joins, so that all take 3 s
        await asyncio.sleep(3)
        assert ana.told[-1] == {"count": 10_001}
        counts = [change for change in ana.told if "count" in change]
        assert len(counts) <= 6
        # Until there are 500 entries they are told; each entry takes less than 100 characters.
        assert sum(len(str(change)) for change in ana.told) < 500 * 100
        sizes = [len(str(message)) for _, message in SharedLayer.sent]
        assert max(sizes) < 100_000
        assert len(await present(here)) == 10_001
