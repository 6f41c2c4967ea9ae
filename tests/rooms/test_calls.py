"""Calls of the rooms API, passed to the hub of this process; those behind a batch, and those with a time limit."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from django_etp import EtpError, LayerUnavailable, SyncCallInEventLoop, rooms
from django_etp.hub.process import serving_hub
from django_etp.rooms.background import batch_under_way, send_in_background
from django_etp.rooms.calls import Calls
from django_etp.rooms.queries import CountMembers
from tests.support.batches import sends
from tests.support.inprocess import Wire
from tests.support.layers import SharedLayer
from tests.support.rooms import clients

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_a_plain_call_is_refused_on_a_thread_with_an_event_loop() -> None:
    calls, query = Calls("default"), CountMembers("default", "lobby")
    for call in (lambda: calls.ask("count", query, None), lambda: calls.send("emit", print)):
        with pytest.raises(SyncCallInEventLoop, match="await"):
            call()


async def test_a_query_has_a_result_from_a_loop_and_from_a_thread() -> None:
    calls, query = Calls("default"), CountMembers("default", "lobby")
    assert await calls.aask(query, None) == 0
    assert await asyncio.to_thread(calls.ask, "count", query, 1.0) == 0


async def test_a_timeout_is_a_number() -> None:
    with pytest.raises((TypeError, EtpError)):
        await Calls("default").aask(CountMembers("default", "lobby"), "5")  # type: ignore[arg-type]


async def test_what_a_thread_sends_after_a_batch_arrives_after_it():
    async with clients("a") as (client,):

        def work() -> None:
            for round in range(20):
                send_in_background(sends(*[("a", f"batch{round}||0")] * 100))
                rooms.emit("a", f"emit{round}")
                send_in_background(sends(("a", "batch||0")))
                rooms.emit_to(client.id, f"emit_to{round}")

        await asyncio.to_thread(work)
        for round in range(20):
            expected = [f"batch{round}"] * 100 + [f"emit{round}", "batch", f"emit_to{round}"]
            assert [(await client.expect_event()).name for _ in expected] == expected


async def test_a_batch_that_is_over_is_under_way_no_more():
    async with Wire():
        hub = serving_hub()

        def work() -> list[bool]:
            before = batch_under_way(hub)
            send_in_background(sends(("a", "1||0")))
            after = batch_under_way(hub)
            return [before is None, after is None]

        assert await asyncio.to_thread(work) == [True, True]


Send = Callable[..., Any]


@pytest.fixture
async def hanging(settings: Any) -> AsyncIterator[None]:
    """A channel layer that spans processes, and that stops to confirm once a client is connected."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}
    yield
    if SharedLayer.hangs is not None:
        SharedLayer.hangs.set()
    SharedLayer.hangs = None
    await serving_hub().stop()


SENDS: list[tuple[str, tuple[Any, ...]]] = [
    ("emit", ("a", "news")),
    ("broadcast", ("news",)),
    ("emit_to", (f"{'0' * 16}.1", "news")),
]


def send(name: str, arguments: tuple[Any, ...], timeout: float) -> tuple[str, float]:
    """Return why a send failed, and after how many seconds."""
    started_at = time.monotonic()
    with pytest.raises(LayerUnavailable) as caught:
        getattr(rooms, name)(*arguments, timeout=timeout)
    return str(caught.value), time.monotonic() - started_at


async def asend(name: str, arguments: tuple[Any, ...], timeout: float) -> tuple[str, float]:
    started_at = time.monotonic()
    with pytest.raises(LayerUnavailable) as caught:
        await getattr(rooms, f"a{name}")(*arguments, timeout=timeout)
    return str(caught.value), time.monotonic() - started_at


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize(("name", "arguments"), SENDS)
@pytest.mark.parametrize("is_async", [False, True], ids=["thread", "task"])
async def test_a_send_waits_for_the_layer_no_longer_than_its_timeout(
    name: str, arguments: tuple[Any, ...], is_async: bool
) -> None:
    async with clients("a") as (client,):
        SharedLayer.hangs = asyncio.Event()
        if is_async:
            why, seconds = await asend(name, arguments, 0.1)
        else:
            why, seconds = await asyncio.to_thread(send, name, arguments, 0.1)
        assert "did not confirm a send within the timeout of 0.1 s" in why
        assert 0.1 <= seconds < 2  # and not the 7 s that a send may take
        if name != "emit_to":
            assert (await client.expect_event()).name == "news"
        SharedLayer.hangs.set()


@pytest.mark.usefixtures("hanging")
async def test_a_send_behind_a_batch_waits_no_longer_than_its_timeout() -> None:
    async with clients("a"):
        SharedLayer.hangs = asyncio.Event()

        def work() -> tuple[str, float]:
            send_in_background(sends(*[("a", "batch||0")] * 600))  # so long that it waits for the layer
            return send("emit", ("a", "news"), 0.2)

        why, seconds = await asyncio.to_thread(work)
        assert "did not confirm" in why
        assert 0.2 <= seconds < 2
        SharedLayer.hangs.set()


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("timeout", [0, 5])
async def test_a_send_that_is_confirmed_in_time_raises_nothing(timeout: float) -> None:
    async with clients("a"):
        await rooms.aemit("nobody in this process", "news", timeout=5)
        await asyncio.to_thread(rooms.emit, "a", "news", timeout=5)
        await rooms.aemit([], "news", timeout=timeout)  # there is nothing to wait for


@pytest.mark.usefixtures("hanging")
@pytest.mark.parametrize("wrong", ["1", float("nan")])
async def test_a_timeout_is_a_number_of_seconds(wrong: Any) -> None:
    async with clients("a"):
        with pytest.raises(TypeError, match="timeout= must be a number of seconds"):
            await rooms.aemit("a", "news", timeout=wrong)
        with pytest.raises(TypeError, match="timeout= must be a number of seconds"):
            await asyncio.to_thread(rooms.emit, "a", "news", timeout=wrong)
