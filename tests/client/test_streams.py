"""Streamed answers in the Python client, against a server that the test plays itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from django_etp.client import EtpClient
from django_etp.exceptions import AckTimeout, ConnectionClosed, EventFailed, InvalidEventName
from django_etp.protocol import Event
from tests.support.inprocess import until
from tests.support.room_peers import Peer, pong, receive, start_peer


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with start_peer() as peer:
        yield peer


async def collect(client: EtpClient, seen: list[str], *, timeout: float | None = None) -> None:
    async for part in client.stream("ask", {"a": 1}, timeout=timeout):
        seen.append(part.data)


async def test_parts_come_one_by_one_until_the_answer(peer: Peer) -> None:
    async with peer.client() as client:
        connection, seen = await peer.accept(), list[str]()
        reading = asyncio.ensure_future(collect(client, seen))
        assert await receive(connection) == 'ask||1||{"a":1}'
        await connection.send("__part_ask||1||one")
        await pong(client, connection)
        assert seen == ["one"]
        await connection.send("__part_ask||1||two")
        await connection.send("__part_ask||9||of another number")
        await connection.send("__ack_ask||1")
        await reading
        assert seen == ["one", "two"]


async def test_a_part_is_an_event(peer: Peer) -> None:
    async with peer.client() as client:
        connection = await peer.accept()
        parts = client.stream("ask")
        first = asyncio.ensure_future(anext(parts))
        await receive(connection)
        await connection.send('__part_ask||1||{"b":2}')
        assert await first == Event("__part_ask", 1, '{"b":2}')
        assert first.result().json() == {"b": 2}
        await parts.aclose()


@pytest.mark.parametrize(("answer", "parts"), [("__ack_ask||1||all", ["all"]), ("__ack_ask||1", [])])
async def test_an_answer_that_is_not_streamed_is_the_only_part(peer: Peer, answer: str, parts: list[str]) -> None:
    async with peer.client() as client:
        connection, seen = await peer.accept(), list[str]()
        reading = asyncio.ensure_future(collect(client, seen))
        await receive(connection)
        await connection.send(answer)
        await reading
        assert seen == parts


async def test_a_failure_in_the_middle_is_raised_behind_the_parts(peer: Peer) -> None:
    async with peer.client() as client:
        connection, seen = await peer.accept(), list[str]()
        reading = asyncio.ensure_future(collect(client, seen))
        await receive(connection)
        await connection.send("__part_ask||1||one")
        await connection.send('__err_ask||1||{"code":"busy","details":5}')
        with pytest.raises(EventFailed) as failed:
            await reading
        assert (seen, failed.value.code, failed.value.details) == (["one"], "busy", 5)
        await pong(client, connection)  # and no stop


async def test_a_loop_that_ends_early_stops_the_stream(peer: Peer) -> None:
    async with peer.client() as client:
        connection = await peer.accept()

        async def take_one() -> str:
            async with aclosing(client.stream("ask")) as parts:
                async for part in parts:
                    return part.data
            return "nothing"

        taking = asyncio.ensure_future(take_one())
        await receive(connection)
        await connection.send("__part_ask||1||one")
        assert await taking == "one"
        assert await receive(connection) == "__stop_ask||1"
        await connection.send("__part_ask||1||late")
        await pong(client, connection)


async def test_a_cancelled_loop_stops_the_stream(peer: Peer) -> None:
    async with peer.client() as client:
        connection = await peer.accept()
        reading = asyncio.ensure_future(collect(client, []))
        await receive(connection)
        reading.cancel()
        assert await receive(connection) == "__stop_ask||1"


async def test_a_stream_that_brings_nothing_for_too_long_is_stopped(peer: Peer) -> None:
    async with peer.client() as client:
        connection, seen = await peer.accept(), list[str]()
        reading = asyncio.ensure_future(collect(client, seen, timeout=0.2))
        await receive(connection)
        await connection.send("__part_ask||1||one")
        with pytest.raises(AckTimeout, match=r"No further part of the answer to 'ask' came within 0\.2 s"):
            await reading
        assert seen == ["one"]
        assert await receive(connection) == "__stop_ask||1"


async def test_the_end_of_the_connection_ends_the_stream(peer: Peer) -> None:
    async with peer.client() as client:
        connection, seen = await peer.accept(), list[str]()
        reading = asyncio.ensure_future(collect(client, seen))
        await receive(connection)
        await connection.send("__part_ask||1||one")
        await connection.close(1001)
        with pytest.raises(ConnectionClosed):
            await reading
        assert seen == ["one"]


async def test_a_name_that_no_event_can_have_is_refused(peer: Peer) -> None:
    async with peer.client() as client:
        await peer.accept()
        with pytest.raises(InvalidEventName):
            await anext(client.stream("__ask"))


async def test_a_slow_loop_holds_up_what_is_read(peer: Peer) -> None:
    async with peer.client() as client:
        connection = await peer.accept()
        parts = client.stream("ask")
        first = asyncio.ensure_future(anext(parts))
        await receive(connection)
        for number in range(150):
            await connection.send(f"__part_ask||1||{number}")
        await connection.send("__ack_ask||1")
        assert (await first).data == "0"
        queue = client._current().streams._loops[1].parts
        await until(lambda: len(queue) == 100)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(queue) == 100
        assert [part.data async for part in parts] == [str(number) for number in range(1, 150)]


async def test_a_slow_loop_may_ask_a_question_of_its_own(peer: Peer) -> None:
    async with peer.client() as client:
        connection = await peer.accept()
        parts = client.stream("ask")
        first = asyncio.ensure_future(anext(parts))
        await receive(connection)
        for number in range(150):
            await connection.send(f"__part_ask||1||{number}")
        await first
        asking = asyncio.ensure_future(client.emit_with_ack("other"))
        assert await receive(connection) == "other||2"
        await connection.send("__ack_other||2||yes")
        assert (await asking).data == "yes"
        await parts.aclose()
