"""Calls of the rooms API, passed to the hub of this process."""

import asyncio

import pytest

from django_etp import EtpError, SyncCallInEventLoop
from django_etp.rooms.calls import aask, ask_from_thread, send_from_thread
from django_etp.rooms.queries import CountMembers


async def test_a_plain_call_is_refused_on_a_thread_with_an_event_loop() -> None:
    query = CountMembers("default", "lobby")
    for call in (lambda: ask_from_thread("count", query, None), lambda: send_from_thread("emit", print)):
        with pytest.raises(SyncCallInEventLoop, match="await"):
            call()


async def test_a_query_has_a_result_from_a_loop_and_from_a_thread() -> None:
    query = CountMembers("default", "lobby")
    assert await aask(query, None) == 0
    assert await asyncio.to_thread(ask_from_thread, "count", query, 1.0) == 0


async def test_a_timeout_is_a_number() -> None:
    with pytest.raises((TypeError, EtpError)):
        await aask(CountMembers("default", "lobby"), "5")  # type: ignore[arg-type]
