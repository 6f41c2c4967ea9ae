"""A hub's place among others, over a layer whose objects share one memory; minutes of waiting pass at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from channels.layers import BaseChannelLayer, InMemoryChannelLayer

from django_etp.exceptions import IncompleteAnswer
from django_etp.hub.hub import Hub
from django_etp.hub.queries import answer
from tests.support.hurry import hurried, seconds, stand_still

# A connection of a hub that nobody has heard of.
UNKNOWN = f"{'f' * 16}.1"


class SharedLayer(BaseChannelLayer):
    """A channel layer whose objects share one store, in memory. While that is away it takes all, and brings nothing.

    The signs of life of hubs that are `unheard` get lost.
    """

    extensions = ("groups",)
    memory = InMemoryChannelLayer()
    is_away = False
    unheard: frozenset[str] = frozenset()

    async def new_channel(self, prefix: str = "specific") -> str:
        return await SharedLayer.memory.new_channel(prefix)

    async def receive(self, channel: str) -> Any:
        return await SharedLayer.memory.receive(channel)

    async def group_add(self, group: str, channel: str) -> None:
        await SharedLayer.memory.group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await SharedLayer.memory.group_discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        is_lost = message["type"] == "etp.beat" and message["hub"] in SharedLayer.unheard
        if not SharedLayer.is_away and not is_lost:
            await SharedLayer.memory.group_send(group, message)


@pytest.fixture(autouse=True)
def layer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of the settings, which is empty and there."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.SharedLayer"}}
    monkeypatch.setattr(SharedLayer, "memory", InMemoryChannelLayer(capacity=10_000))
    monkeypatch.setattr(SharedLayer, "is_away", False)
    monkeypatch.setattr(SharedLayer, "unheard", frozenset())


@asynccontextmanager
async def serving(answer: Any = answer) -> AsyncIterator[Hub]:
    """A hub that has a connection."""
    hub = Hub(asyncio.get_running_loop(), answer, is_serving=True)
    await hub.start()
    yield hub
    hub.stop_serving()
    await hub.stop()


def may_live(hub: Hub, connection_id: str = UNKNOWN) -> bool:
    """Return whether a connection may live, as far as a hub knows."""
    return hub.living()(connection_id)


async def becomes_sure(hub: Hub, *, after: float = 5.5, within: float = 6.5) -> None:
    """Wait until a hub takes unknown ones for dead: 6 s, for which it must have heard without a pause."""
    await asyncio.sleep(after)
    assert may_live(hub)
    await asyncio.sleep(within - after)
    assert not may_live(hub)


@hurried
async def test_a_connection_of_a_hub_that_is_heard_of_lives():
    async with serving() as hub, serving() as other:
        await becomes_sure(hub)
        assert may_live(hub, f"{other.id}.1")
        assert not may_live(hub, f"{hub.id}.1")


@hurried
async def test_an_unknown_connection_may_live_until_the_hub_has_heard_for_6_s():
    SharedLayer.is_away = True
    async with serving() as hub:
        await asyncio.sleep(60)
        assert may_live(hub)
        assert not may_live(hub, f"{hub.id}.1")
        SharedLayer.is_away = False
        await becomes_sure(hub, after=5, within=10)


@hurried
async def test_a_hub_that_hears_nothing_counts_the_6_s_anew_once_it_hears():
    async with serving() as hub:
        await becomes_sure(hub)
        SharedLayer.is_away = True
        await asyncio.sleep(10)
        assert may_live(hub)
        SharedLayer.is_away = False
        await becomes_sure(hub, after=5, within=10)


@hurried
async def test_a_hub_that_stood_still_counts_the_6_s_anew():
    """Others may have come meanwhile, and what they said is lost where the layer had no room for it."""
    async with serving() as hub:
        await becomes_sure(hub)
        stand_still(3)
        await becomes_sure(hub, after=5, within=10)


@hurried
async def test_who_lives_is_told_as_it_was_known_when_it_was_asked():
    """The function runs in a thread, later."""
    async with serving() as hub:
        may_live_then = hub.living()
        await becomes_sure(hub)
        assert may_live_then(UNKNOWN)


# Queries to all


def answers_after(delay: float) -> Any:
    """Return what answers any question, so many seconds later, with just that number."""

    async def answer(hub: Hub, action: str, arguments: list[Any]) -> float:
        await asyncio.sleep(delay)
        return delay

    return answer


@pytest.mark.parametrize(
    ("own", "others", "answered"), [(9.0, 0.25, [0.25]), (0.25, 9.0, [0.25]), (9.0, 8.0, [])], ids=repr
)
def test_whoever_is_late_the_asker_gets_what_the_others_said_in_time(own: float, others: float, answered: Any) -> None:
    @hurried
    async def ask() -> None:
        async with serving(answers_after(own)) as hub, serving(answers_after(others)):
            asking = asyncio.ensure_future(hub.ask(None, "count", timeout=0.5))
            assert await seconds(asking) == pytest.approx(0.5, abs=0.1)
            error = asking.exception()
            assert isinstance(error, IncompleteAnswer)
            assert error.answer == answered

    ask()


@hurried
async def test_a_question_is_answered_as_soon_as_all_have_answered():
    async with serving(answers_after(2.0)) as hub, serving(answers_after(1.0)):
        asking = asyncio.ensure_future(hub.ask(None, "count", timeout=5))
        assert await seconds(asking) == pytest.approx(2, abs=0.1)
        assert await asking == [2.0, 1.0]


@pytest.mark.parametrize("is_for_one", [False, True])
def test_a_new_asker_waits_for_those_that_hear_its_question_though_it_does_not_know_them(is_for_one: bool) -> None:
    @hurried
    async def ask() -> None:
        async with serving(answers_after(7.0)) as other:
            SharedLayer.unheard = frozenset([other.id])
            asker = Hub(asyncio.get_running_loop(), answers_after(0.0), is_serving=False)
            answers = await asker.ask(other.id if is_for_one else None, "count", timeout=10)
            assert answers == ([7.0] if is_for_one else [0.0, 7.0])
            await asker.stop()

    ask()
