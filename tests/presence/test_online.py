"""The signals about users over several hubs, each of which stands for a process: each is sent once."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from django_etp.hub.hub import Hub
from django_etp.presence.tracker import tracker_of
from django_etp.signals import user_offline, user_online
from tests.support.hurry import hurried
from tests.support.presence import hubs, kill, stop

pytestmark = pytest.mark.usefixtures("layer")

got: list[tuple[str, Any]] = []


@pytest.fixture(autouse=True)
def receivers() -> Iterator[None]:
    got.clear()

    def online(user_id: Any, **_: Any) -> None:
        got.append(("online", user_id))

    def offline(user_id: Any, **_: Any) -> None:
        got.append(("offline", user_id))

    user_online.connect(online)
    user_offline.connect(offline)
    yield
    user_online.disconnect(online)
    user_offline.disconnect(offline)


class Visitor:
    """A connection of a user."""

    namespace = "default"
    is_far_behind = False

    def __init__(self, hub: Hub, is_accepted: bool = True) -> None:
        self.id = hub.new_connection_id()
        self.is_accepted = is_accepted
        self.hub = hub

    async def end(self) -> None:
        await self.hub.remove(self)


async def visit(hub: Hub, user: str, **options: Any) -> Visitor:
    visitor: Any = Visitor(hub, **options)
    hub.add(visitor, user)
    await hub.enter(visitor)
    return visitor


async def watched(*all_hubs: Hub) -> None:
    for hub in all_hubs:
        tracker_of(hub).watch_users()
    await asyncio.sleep(1)


async def signals(*all_hubs: Hub) -> list[tuple[str, Any]]:
    """Return the signals until now, once the threads of their receivers have ended."""
    until = time.monotonic() + 10
    while any(hub._tasks for hub in all_hubs) and time.monotonic() < until:  # noqa: ASYNC110 (the loop's clock stands still)
        await asyncio.sleep(0)
    return got


@hurried
async def test_a_user_of_several_processes_is_online_once_and_offline_once():
    async with hubs(3) as all_hubs:
        await watched(*all_hubs)
        first = await visit(all_hubs[0], "7")
        await asyncio.sleep(5)
        others = [await visit(hub, "7") for hub in all_hubs]
        await asyncio.sleep(5)
        assert await signals(*all_hubs) == [("online", 7)]
        for each in (first, *others[:2]):
            await each.end()
        await asyncio.sleep(30)
        assert await signals(*all_hubs) == [("online", 7)]
        await others[2].end()
        await asyncio.sleep(9)
        assert await signals(*all_hubs) == [("online", 7)]
        await asyncio.sleep(4)
        assert await signals(*all_hubs) == [("online", 7), ("offline", 7)]


@hurried
async def test_of_processes_that_change_at_the_same_moment_one_sends_the_signal():
    async with hubs(3) as all_hubs:
        await watched(*all_hubs)
        for _ in range(3):
            visitors = [await visit(hub, "7") for hub in all_hubs]
            await asyncio.sleep(5)
            for each in visitors:
                await each.end()
            await asyncio.sleep(20)
        assert await signals(*all_hubs) == [("online", 7), ("offline", 7)] * 3


@hurried
async def test_connections_in_other_processes_within_the_first_second_change_nothing():
    async with hubs(2) as (one, other):
        await watched(one, other)
        for user, first, second in (("7", one, other), ("8", other, one)):
            for hub in (first, second):
                await visit(hub, user)
                await asyncio.sleep(0.3)
        await asyncio.sleep(3)
        assert sorted(await signals(one, other)) == [("online", 7), ("online", 8)]


@hurried
async def test_a_return_within_the_grace_is_no_signal():
    async with hubs(2) as (here, there):
        await watched(here, there)
        visitor = await visit(here, "7")
        await asyncio.sleep(5)
        await visitor.end()
        await asyncio.sleep(5)
        await visit(there, "7")
        await asyncio.sleep(30)
        assert await signals(here, there) == [("online", 7)]


@hurried
async def test_a_connection_counts_once_it_is_accepted():
    async with hubs(1) as (hub,):
        await watched(hub)
        refused, visitor = [await visit(hub, user, is_accepted=False) for user in ("6", "7")]
        await asyncio.sleep(5)
        await refused.end()
        assert await signals(hub) == []
        visitor.is_accepted = True
        await asyncio.sleep(5)
        assert await signals(hub) == [("online", 7)]


@hurried
async def test_a_user_of_a_killed_process_is_offline_once():
    async with hubs(3) as all_hubs:
        await watched(*all_hubs)
        await visit(all_hubs[0], "7")
        await asyncio.sleep(5)
        kill(all_hubs[0])
        await asyncio.sleep(15)
        assert await signals(*all_hubs[1:]) == [("online", 7)]
        await asyncio.sleep(6)
        assert await signals(*all_hubs[1:]) == [("online", 7), ("offline", 7)]


@hurried
async def test_a_user_who_returns_after_a_restart_stays_online():
    async with hubs(2) as (here, there):
        await watched(here, there)
        visitors = [await visit(here, user) for user in ("7", "8")]
        await asyncio.sleep(5)
        for each in visitors:
            await each.end()
        await stop(here)
        await asyncio.sleep(2)
        await visit(there, "7")
        await asyncio.sleep(30)
        assert sorted(await signals(there)) == [("offline", 8), ("online", 7), ("online", 8)]


@hurried
async def test_users_who_were_there_before_are_online():
    async with hubs(1) as (hub,):
        await visit(hub, "7")
        await visit(hub, "a device")
        await watched(hub)
        await asyncio.sleep(3)
        assert sorted(await signals(hub), key=str) == [("online", "a device"), ("online", 7)]


@hurried
async def test_a_change_of_user_is_one():
    async with hubs(1) as (hub,):
        await watched(hub)
        visitor: Any = await visit(hub, "7")
        await asyncio.sleep(3)
        await hub.change_user(visitor, "8")
        await asyncio.sleep(15)
        assert await signals(hub) == [("online", 7), ("online", 8), ("offline", 7)]


@pytest.mark.parametrize("late", [0.3, 0.8, 2, 3])
@pytest.mark.parametrize("place", [0, 1])
def test_a_user_who_returns_right_after_the_grace_was_offline(place: int, late: float) -> None:
    @hurried
    async def run() -> None:
        async with hubs(3) as all_hubs:
            await watched(*all_hubs)
            visitor = await visit(all_hubs[0], "7")
            await asyncio.sleep(5)
            await visitor.end()
            await asyncio.sleep(10 + late)
            await visit(all_hubs[place], "7")
            await asyncio.sleep(15)
            assert await signals(*all_hubs) == [("online", 7), ("offline", 7), ("online", 7)]

    run()


def test_a_user_who_comes_and_goes_within_seconds(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    settings.ETP = {"PRESENCE_GRACE": 0}

    @hurried
    async def run() -> None:
        async with hubs(2) as all_hubs:
            await watched(*all_hubs)
            for _ in range(3):
                visitor = await visit(all_hubs[0], "7")
                await asyncio.sleep(1.5)
                await visitor.end()
                await asyncio.sleep(1.5)
            await asyncio.sleep(10)
            assert await signals(*all_hubs) == [("online", 7), ("offline", 7)] * 3

    run()
    assert caplog.records == []
