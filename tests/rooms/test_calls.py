"""Calls of the rooms API, passed to the hub of this process; those behind a batch of the same thread."""

import asyncio

import pytest

from django_etp import EtpError, SyncCallInEventLoop, rooms
from django_etp.hub.process import serving_hub
from django_etp.rooms.background import batch_under_way, send_in_background
from django_etp.rooms.calls import Calls
from django_etp.rooms.queries import CountMembers
from tests.support.batches import sends
from tests.support.inprocess import Wire
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
