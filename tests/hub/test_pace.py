"""Senders wait while most members are far behind, for a while; a few slow members hold up nobody."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.concurrency.confirmations import confirmed
from django_etp.hub.pace import Pace

MIB = 1024 * 1024


def members(*are_behind: bool) -> Any:
    return tuple(SimpleNamespace(is_far_behind=is_behind) for is_behind in are_behind)


async def time_of(pace: Pace, present: Any, size: int) -> float:
    """Return how long a sender waits, in seconds."""
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    await confirmed(pace.slow(present, size))
    return loop.time() - began_at


async def test_small_sends_wait_for_nothing() -> None:
    pace = Pace(asyncio.get_running_loop())
    for _ in range(100):
        assert pace.slow(members(True, True), 1000) == []


@pytest.mark.parametrize("are_behind", [(), (False,), (True, False), (True, False, False)])
async def test_a_few_slow_members_hold_up_no_sender(are_behind: tuple[bool, ...]) -> None:
    assert await time_of(Pace(asyncio.get_running_loop()), members(*are_behind), MIB) < 0.2


@pytest.mark.parametrize("are_behind", [(True,), (True, True, False)])
async def test_a_sender_waits_for_most_members_but_not_for_ever(are_behind: tuple[bool, ...]) -> None:
    assert 0.2 < await time_of(Pace(asyncio.get_running_loop()), members(*are_behind), MIB) < 2


async def test_a_sender_goes_on_once_most_members_have_caught_up() -> None:
    pace, present = Pace(asyncio.get_running_loop()), members(True, True, True)
    (confirmation,) = pace.slow(present, MIB)
    await asyncio.sleep(0.02)
    assert not confirmation.is_settled
    present[0].is_far_behind = present[1].is_far_behind = False
    await asyncio.sleep(0.05)
    assert confirmation.is_settled


async def test_the_loop_turns_after_64_sends() -> None:
    pace, turns = Pace(asyncio.get_running_loop()), []
    asyncio.get_running_loop().call_soon(turns.append, None)
    for _ in range(63):
        await pace.turn()
    assert not turns
    await pace.turn()
    assert turns
