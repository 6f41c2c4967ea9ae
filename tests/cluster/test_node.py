"""A node among others, over a layer whose objects share one memory; minutes of waiting pass at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from django_etp.exceptions import IncompleteAnswer
from django_etp.hub.hub import Hub
from django_etp.hub.names import group_name
from django_etp.hub.queries import answer
from tests.support.hurry import hurried, seconds, stand_still
from tests.support.layers import SharedLayer

# A connection of a hub that sends no heartbeats.
UNKNOWN = f"{'f' * 16}.1"


@pytest.fixture(autouse=True)
def layer(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer of the settings, which is empty and there."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}
    monkeypatch.setattr(SharedLayer, "memory", InMemoryChannelLayer(capacity=10_000))
    monkeypatch.setattr(SharedLayer, "is_away", False)
    monkeypatch.setattr(SharedLayer, "refuses", False)
    monkeypatch.setattr(SharedLayer, "lost", frozenset())
    monkeypatch.setattr(SharedLayer, "opens_after", 0.0)


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
    """Wait until a hub is sure that unknown hubs do not live: 6 s without a pause in its messages."""
    await asyncio.sleep(after)
    assert may_live(hub)
    await asyncio.sleep(within - after)
    assert not may_live(hub)


@hurried
async def test_a_connection_of_a_hub_that_sends_heartbeats_lives():
    async with serving() as hub, serving() as other:
        await becomes_sure(hub)
        assert may_live(hub, f"{other.id}.1")
        assert not may_live(hub, f"{hub.id}.1")


@hurried
async def test_an_unknown_connection_may_live_until_messages_have_arrived_for_6_s():
    SharedLayer.is_away = True
    async with serving() as hub:
        await asyncio.sleep(60)
        assert may_live(hub)
        assert not may_live(hub, f"{hub.id}.1")
        SharedLayer.is_away = False
        await becomes_sure(hub, after=5, within=10)


@hurried
async def test_a_hub_that_receives_nothing_counts_the_6_s_anew_once_it_does():
    async with serving() as hub:
        await becomes_sure(hub)
        SharedLayer.is_away = True
        await asyncio.sleep(10)
        assert may_live(hub)
        SharedLayer.is_away = False
        await becomes_sure(hub, after=5, within=10)


@hurried
async def test_a_hub_that_stood_still_counts_the_6_s_anew():
    """Others may have come meanwhile; their heartbeats are lost if the layer had no room for them."""
    async with serving() as hub:
        await becomes_sure(hub)
        stand_still(3)
        await becomes_sure(hub, after=5, within=10)


@hurried
async def test_a_hub_that_stood_still_joins_its_groups_again():
    """Others may have evicted it, and forgotten that, while traffic of another room hides it from the healing."""
    async with serving() as hub, serving() as other:
        member = SimpleNamespace(id=hub.new_connection_id(), namespace="default", is_accepted=True, deliver=[].append)
        hub.add(member)
        await hub.join(member, ["quiet", "busy"])
        group = group_name("default", "quiet")
        await becomes_sure(hub)
        (channel,) = SharedLayer.memory.groups[group]
        stand_still(2)
        await SharedLayer.memory.group_discard(group, channel)
        for _ in range(10):
            await other.sent(other.send("default", ["busy"], "news||0", frozenset()))
            await asyncio.sleep(0.1)
        assert channel in SharedLayer.memory.groups.get(group, {})
        await hub.remove(member)


@hurried
async def test_living_hubs_are_those_known_when_the_function_was_made():
    """The function runs in a thread, later."""
    async with serving() as hub:
        may_live_then = hub.living()
        await becomes_sure(hub)
        assert may_live_then(UNKNOWN)


@hurried
async def test_a_hub_that_another_knew_may_live_until_it_is_heard_of_or_would_have_been():
    unknown = "f" * 16
    async with serving() as other, serving() as hub:
        hubs = frozenset([hub.id, other.id, unknown])
        await asyncio.sleep(1)
        assert hub.asker.others == {other.id}
        assert hub.asker.unheard_of(hubs) == {unknown}
        await becomes_sure(hub, after=4.5, within=5.5)
        assert hub.asker.unheard_of(hubs) == frozenset()


# Queries to all


def answers_after(delay: float) -> Any:
    """Return a function that answers any query so many seconds later, with just that number."""

    async def answer(hub: Hub, action: str, arguments: list[Any]) -> float:
        await asyncio.sleep(delay)
        return delay

    return answer


@pytest.mark.parametrize(
    ("own", "others", "answered"), [(9.0, 0.25, [0.25]), (0.25, 9.0, [0.25]), (9.0, 8.0, [])], ids=repr
)
def test_an_incomplete_answer_holds_the_results_that_came_in_time(own: float, others: float, answered: Any) -> None:
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
async def test_a_query_ends_as_soon_as_all_have_replied():
    async with serving(answers_after(2.0)) as hub, serving(answers_after(1.0)):
        asking = asyncio.ensure_future(hub.ask(None, "count", timeout=5))
        assert await seconds(asking) == pytest.approx(2, abs=0.1)
        assert await asking == [2.0, 1.0]


@pytest.mark.parametrize("is_for_one", [False, True])
def test_a_new_asker_waits_for_hubs_that_its_query_reaches_though_it_does_not_know_them(is_for_one: bool) -> None:
    @hurried
    async def ask() -> None:
        async with serving(answers_after(7.0)) as other:
            SharedLayer.lost = frozenset([(other.id, "etp.beat")])
            asker = Hub(asyncio.get_running_loop(), answers_after(0.0), is_serving=False)
            answers = await asker.ask(other.id if is_for_one else None, "count", timeout=10)
            assert answers == ([7.0] if is_for_one else [0.0, 7.0])
            await asker.stop()

    ask()


async def until_late(hub: Hub, *lost: str) -> None:
    """Lose all messages of these types that a hub sends, until its heartbeat is late."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(10)
    SharedLayer.lost = frozenset((hub.id, type) for type in lost)
    await asyncio.sleep(SharedLayer.beats_at[hub.id] + 3.1 - loop.time())


@pytest.mark.parametrize("is_for_one", [False, True])
def test_a_slow_hub_is_waited_for_though_its_heartbeats_do_not_arrive(is_for_one: bool) -> None:
    """It sends a receipt, which its heartbeats' lateness makes the asker want."""

    @hurried
    async def ask() -> None:
        async with serving(answers_after(0.0)) as hub, serving(answers_after(1.9)) as other:
            await until_late(other, "etp.beat")
            asking = asyncio.ensure_future(hub.ask(other.id if is_for_one else None, "count", timeout=2))
            assert await seconds(asking) == pytest.approx(1.9, abs=0.05)
            assert await asking == ([1.9] if is_for_one else [0.0, 1.9])

    ask()


@pytest.mark.parametrize("is_for_one", [False, True])
def test_a_silent_hub_is_not_waited_for_once_its_heartbeat_is_late(is_for_one: bool) -> None:
    @hurried
    async def ask() -> None:
        async with serving(answers_after(0.0)) as hub, serving(answers_after(0.1)) as other:
            await until_late(other, "etp.beat", "etp.heard", "etp.answer")
            asking = asyncio.ensure_future(hub.ask(other.id if is_for_one else None, "count", timeout=2))
            assert await seconds(asking) == pytest.approx(1.15, abs=0.15)
            error = asking.exception()
            assert isinstance(error, IncompleteAnswer)
            assert error.answer == ([] if is_for_one else [0.0])

    ask()


@pytest.mark.parametrize("turns", range(12))
def test_an_asker_that_stood_still_reads_its_messages_before_it_gives_up_a_hub(turns: int) -> None:
    """However far the query, or the receipt, has come by then."""

    @hurried
    async def ask() -> None:
        async with serving(answers_after(0.0)) as hub, serving(answers_after(1.9)) as other:
            await until_late(other, "etp.beat")
            asking = asyncio.ensure_future(hub.ask(None, "count", timeout=4))
            for _ in range(turns):
                await asyncio.sleep(0)
            stand_still(1)
            assert await asking == [0.0, 1.9]

    ask()


def test_a_layer_that_opens_slowly_is_not_asked_to_join_groups_before(caplog: pytest.LogCaptureFixture) -> None:
    @hurried
    async def serve() -> None:
        SharedLayer.opens_after = 0.4
        async with serving() as hub:
            await becomes_sure(hub)
            assert f"etp.hub.{hub.id}" in SharedLayer.memory.groups

    serve()
    assert caplog.messages == []


@pytest.mark.parametrize(("site", "prefix"), [("shop", "etp.shop."), ("", "etp.")])
async def test_every_name_in_the_layer_begins_with_that_of_the_site(settings: Any, site: str, prefix: str) -> None:
    settings.ETP = {"SITE": site}
    async with serving() as hub, serving() as other:
        await hub.link.join(group_name("default", "lobby"))
        assert await other.ask(hub.id, "count", "default", "lobby", timeout=5) == [0]
        kinds = ["ask", "ask", "control", "hub", "hub", "room"]
        assert sorted(group.removeprefix(prefix).split(".")[0] for group in SharedLayer.memory.groups) == kinds
        channels = [channel for group in SharedLayer.memory.groups.values() for channel in group]
        assert len(channels) == 7
        assert all(channel.startswith(prefix) for channel in channels)


# Healing


@hurried
async def test_a_node_that_is_cut_off_keeps_its_channels_in_which_messages_wait():
    async with serving() as hub:
        channels = SharedLayer.channels_of(hub.id)
        SharedLayer.refuses = True
        await asyncio.sleep(120)
        SharedLayer.refuses = False
        await asyncio.sleep(60)
        assert SharedLayer.channels_of(hub.id) == channels


@hurried
async def test_a_node_whose_messages_are_taken_but_do_not_come_back_renews_its_channels():
    async with serving() as hub:
        channels = SharedLayer.channels_of(hub.id)
        SharedLayer.is_away = True
        await asyncio.sleep(60)
        assert not SharedLayer.channels_of(hub.id) & channels
