"""The messages that wait for an application."""

import asyncio

from django_etp.uvicorn.incoming import Incoming


def test_it_is_full_after_so_many_messages_or_bytes() -> None:
    incoming = Incoming(3)
    assert [incoming.put({}, 10) for _ in range(3)] == [False, False, True]
    incoming = Incoming(100)
    assert [incoming.put({}, 30_000) for _ in range(3)] == [False, False, True]


def test_it_counts_anew_when_it_was_empty() -> None:
    incoming = Incoming(100)
    incoming.put({"n": 1}, 60_000)
    incoming.put({"n": 2}, 1)
    assert (incoming.pop(), incoming.pop()) == ({"n": 1}, {"n": 2})
    assert not incoming.put({}, 60_000)


def test_the_first_disconnect_counts() -> None:
    incoming = Incoming(3)
    incoming.end({"code": 1000})
    incoming.end({"code": 1005})
    assert incoming.disconnect == {"code": 1000}


async def test_a_wait_ends_with_a_message_or_the_end() -> None:
    incoming = Incoming(3)
    waits = [asyncio.create_task(incoming.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    waits.pop(0).cancel()
    incoming.put({})
    incoming.put({})
    async with asyncio.timeout(5):
        await asyncio.gather(*waits)
    wait = asyncio.create_task(incoming.wait())
    await asyncio.sleep(0)
    incoming.end({})
    async with asyncio.timeout(5):
        await wait
    assert incoming._waiters == []
