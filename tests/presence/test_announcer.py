"""What members are told of a room, in what form, and how often."""

import asyncio
import json
from typing import Any

import pytest

from tests.support.hurry import hurried
from tests.support.presence import hubs, sit

pytestmark = pytest.mark.usefixtures("layer")


@pytest.fixture
def few(settings: Any) -> None:
    """A limit of three entries."""
    settings.ETP = {"PRESENCE_LIMIT": 3}


@hurried
async def test_changes_are_gathered_at_most_every_200_ms():
    async with hubs(1) as (hub,):
        ana = await sit(hub, "ana")
        began_at = asyncio.get_running_loop().time()
        for number in range(100):
            await sit(hub, str(number))
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.3)
        took = asyncio.get_running_loop().time() - began_at
        assert len(ana.members) == 101
        assert 5 <= len(ana.told) <= took / 0.2 + 1


@hurried
async def test_a_newcomer_is_told_nothing_that_its_answer_held():
    async with hubs(1) as (hub,):
        seats = [await sit(hub, str(number)) for number in range(5)]
        await asyncio.sleep(0.3)
        for number, seat in enumerate(seats):
            assert seat.changes == [("joined", str(each)) for each in range(number + 1, 5)]


@hurried
async def test_who_comes_and_goes_within_200_ms_is_not_told():
    async with hubs(1) as (hub,):
        ana = await sit(hub, "ana")
        await asyncio.sleep(0.3)
        await sit(hub, "bob")
        await (await sit(hub, "cleo")).leave()
        await asyncio.sleep(0.3)
        assert ana.changes == [("joined", "bob")]


@pytest.mark.usefixtures("few")
def test_above_the_limit_the_count_is_told_at_most_every_second():
    @hurried
    async def test() -> None:
        async with hubs(1) as (hub,):
            seats = [await sit(hub, str(number)) for number in range(3)]
            await asyncio.sleep(1)
            told = len(seats[0].told)
            fourth = await sit(hub, "3")
            assert fourth.answer["count"] == 4
            assert list(fourth.members) == ["3"]
            await asyncio.sleep(0.2)
            assert seats[0].told[told:] == [{"count": 4}]
            assert fourth.told == []
            for number in range(4, 100):
                await sit(hub, str(number))
                await asyncio.sleep(0.03)
            await asyncio.sleep(1.2)
            counts = [each["count"] for each in seats[0].told[told:]]
            assert counts[-1] == 100
            assert counts == sorted(counts)
            assert 3 <= len(counts) <= 5
            assert max(len(json.dumps(each)) for each in seats[0].told[told:]) < 20

    test()


@pytest.mark.usefixtures("few")
def test_below_the_limit_all_entries_are_told_once_and_not_soon_again():
    @hurried
    async def test() -> None:
        async with hubs(1) as (hub,):
            ana, *_, last = [await sit(hub, str(number)) for number in range(4)]
            await asyncio.sleep(2)
            assert ana.told[-1] == {"count": 4}
            await last.leave()
            await asyncio.sleep(2)
            assert [each["key"] for each in ana.told[-1]["joined"]] == ["0", "1", "2"]
            told = len(ana.told)
            last = await sit(hub, "9")
            await asyncio.sleep(2)
            await last.leave()
            await asyncio.sleep(3)
            assert ana.told[told:] == [{"count": 4}, {"count": 3}]
            await asyncio.sleep(10)
            assert [each["key"] for each in ana.told[-1]["joined"]] == ["0", "1", "2"]
            assert len(ana.told) == told + 3
            await sit(hub, "2")
            await asyncio.sleep(1)
            assert ana.changes[-1] == ("changed", "2")

    test()
