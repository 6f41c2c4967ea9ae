"""The messages on their way to an application."""

import asyncio
import weakref

import pytest

from django_etp.uvicorn.incoming import Incoming


def read_on() -> None:
    """Do nothing: there is no more to read."""


def test_it_is_full_after_so_many_messages_or_bytes() -> None:
    incoming = Incoming(3)
    assert [incoming.put("x" * 10) for _ in range(3)] == [False, False, True]
    incoming = Incoming(100)
    assert [incoming.put(b"x" * 30_000) for _ in range(3)] == [False, False, True]


async def test_it_counts_anew_when_it_was_empty() -> None:
    incoming = Incoming(100)
    incoming.put("a" * 60_000)
    incoming.put(b"b")
    received = [await incoming.receive(read_on) for _ in range(2)]
    assert received == [
        {"type": "websocket.receive", "text": "a" * 60_000},
        {"type": "websocket.receive", "bytes": b"b"},
    ]
    assert not incoming.put(b"x" * 60_000)


async def test_reading_goes_on_when_it_is_empty() -> None:
    incoming, calls = Incoming(100), []
    incoming.put("a")
    incoming.put("b")
    await incoming.receive(lambda: calls.append("a"))
    assert calls == []
    await incoming.receive(lambda: calls.append("b"))
    assert calls == ["b"]


def test_the_first_disconnect_counts() -> None:
    incoming = Incoming(3)
    incoming.end({"code": 1000})
    incoming.end({"code": 1005})
    assert incoming.disconnect == {"code": 1000}


async def test_a_wait_ends_with_a_message_or_the_end() -> None:
    incoming = Incoming(3)
    waits = [asyncio.create_task(incoming.receive(read_on)) for _ in range(3)]
    await asyncio.sleep(0)
    waits.pop(0).cancel()
    incoming.put("a")
    incoming.put("b")
    async with asyncio.timeout(5):
        assert [message["text"] for message in await asyncio.gather(*waits)] == ["a", "b"]
    wait = asyncio.create_task(incoming.receive(read_on))
    await asyncio.sleep(0)
    incoming.end({"code": 1000})
    async with asyncio.timeout(5):
        assert await wait == {"code": 1000}
    assert incoming._waiters == []


async def test_messages_are_passed_on_in_order_and_those_that_waited_first() -> None:
    incoming, taken, unread = Incoming(100), [], ["c"]
    for data in ("a", b"b"):
        incoming.put(data)
    passed = incoming.pass_to(
        lambda data: bool(taken.append(data)), lambda: bool(unread) and bool(incoming.put(unread.pop()))
    )
    incoming.put("d")
    assert taken == ["a", b"b", "c", "d"]
    assert incoming.messages == []
    incoming.end({"code": 1000})
    assert await passed == {"code": 1000}
    assert await incoming.pass_to(taken.append, read_on) == {"code": 1000}


@pytest.mark.parametrize("is_kept", [True, False])
async def test_nothing_is_passed_on_once_messages_are_to_wait(is_kept: bool) -> None:
    incoming, taken = Incoming(2), []

    def take(data: str | bytes) -> bool:
        taken.append(data)
        return data == "wait"

    if is_kept:
        incoming.put("wait")
    passed = incoming.pass_to(take, read_on)
    if not is_kept:
        incoming.put("wait")
    assert await passed is None
    assert [incoming.put("a"), incoming.put("b")] == [False, True]
    assert taken == ["wait"]
    passed = incoming.pass_to(take, read_on)
    incoming.put("c")
    assert taken == ["wait", "a", "b", "c"]
    assert not passed.done()


async def test_an_error_is_raised_where_messages_are_awaited() -> None:
    incoming = Incoming(100)
    passed = incoming.pass_to(lambda _: bool(1 / 0), read_on)
    incoming.put("a")
    with pytest.raises(ZeroDivisionError):
        await passed
    incoming.put("b")
    assert len(incoming.messages) == 1


async def test_messages_are_kept_if_their_receiver_was_cancelled() -> None:
    incoming, taken = Incoming(100), []
    passed = incoming.pass_to(taken.append, read_on)
    passed.cancel()
    incoming.put("a")
    assert taken == []
    assert len(incoming.messages) == 1
    incoming.end({"code": 1000})


class Taker:
    """A receiver."""

    def take(self, _data: str | bytes) -> bool:
        """Wait for nothing."""
        return False


async def test_the_end_keeps_nothing_of_the_receiver() -> None:
    incoming = Incoming(100)
    passed = weakref.ref(incoming.pass_to(take := Taker().take, read_on))
    taker = weakref.ref(take.__self__)
    del take
    incoming.end({"code": 1000})
    assert (taker(), passed()) == (None, None)
