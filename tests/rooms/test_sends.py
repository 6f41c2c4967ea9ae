"""Sends to rooms within one process: who gets them, what is refused, and bursts."""

import asyncio
from typing import Any

import pytest

from django_etp import Connection, Event, InvalidEventName, InvalidPayload, etp_event, on_connect, rooms
from django_etp.connections import outbox
from tests.support.inprocess import Wire, until
from tests.support.rooms import Call, clients, got

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_an_event_reaches_all_members_of_a_room_and_nobody_else(call: Call) -> None:
    async with clients("lobby", "lobby game", "game", "") as connected:
        await call("emit", "lobby", "news", {"id": 7})
        for client in connected[:2]:
            assert (await client.expect_event("news")).json() == {"id": 7}
        assert await got(*connected) == [[], [], [], []]


async def test_a_member_of_several_of_the_rooms_gets_one_copy(call: Call) -> None:
    async with clients("a", "a b", "a b c", "d") as connected:
        await call("emit", ["a", "b", "c"], "news")
        assert await got(*connected) == [["news"], ["news"], ["news"], []]


async def test_who_sends_without_end_closes_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_MAX_FRAMES", 6)  # above 16 times as many a client is closed with 1013
    async with clients(*["lobby"] * 50) as connected:
        for _ in range(500):
            await rooms.aemit("lobby", "news")
        assert all(names == ["news"] * 500 for names in await got(*connected))


@pytest.mark.parametrize("names", [(), [], ["empty"], "empty", ("empty", "empty too"), iter(["empty"])])
async def test_an_event_for_nobody_is_no_error(call: Call, names: Any) -> None:
    async with clients("lobby") as connected:
        await call("emit", names, "news")
        assert await got(*connected) == [[]]


async def test_rooms_may_be_named_by_any_iterable(call: Call) -> None:
    async with clients("a", "b") as connected:
        await call("emit", (name for name in "ab"), "news")
        await call("emit", {"a": 1, "b": 2}.keys(), "more")
        assert await got(*connected) == [["news", "more"]] * 2


async def test_excluded_connections_get_nothing(call: Call) -> None:
    async with clients("lobby", "lobby", "lobby") as connected:
        first, second, _ = connected
        await call("emit", "lobby", "by id", exclude=[first.id])
        await call("emit", "lobby", "by connection", exclude=[second.connection, first.id])
        await call("emit", "lobby", "one id", exclude=first.id)
        await call("emit", "lobby", "one connection", exclude=first.connection)
        await call("emit", "lobby", "nobody", exclude=["never was"])
        assert await got(*connected) == [
            ["nobody"],
            ["by id", "one id", "one connection", "nobody"],
            ["by id", "by connection", "one id", "one connection", "nobody"],
        ]


async def test_an_excluded_member_of_several_rooms_gets_nothing(call: Call) -> None:
    async with clients("a b", "a b") as connected:
        await call("emit", ["a", "b"], "news", exclude=[connected[0].id])
        assert await got(*connected) == [[], ["news"]]


async def test_a_broadcast_reaches_all_connections_of_the_namespace(call: Call) -> None:
    async with clients("lobby", "", "game") as connected, clients("lobby", namespace="other") as others:
        await call("broadcast", "news", "text", exclude=[connected[2].id])
        for client in connected[:2]:
            assert (await client.expect_event("news")).data == "text"
        assert await got(*connected) == [[], [], []]
        assert await got(*others) == [[]]


async def test_an_event_reaches_one_connection(call: Call) -> None:
    async with clients("lobby", "lobby") as connected:
        await call("emit_to", connected[0].id, "news", [1])
        assert (await connected[0].expect_event("news")).json() == [1]
        assert await got(*connected) == [[], []]


@pytest.mark.parametrize("id", ["gone", "", "no.such", "0123456789abcdef.0123"])
async def test_an_event_for_a_connection_that_is_gone_is_dropped_in_silence(call: Call, id: str) -> None:
    async with clients(""):
        await call("emit_to", id, "news")


@pytest.mark.parametrize("name", ["emit", "broadcast", "emit_to", "emit_with_ack", "emit_to_with_ack"])
@pytest.mark.parametrize(
    ("event", "data", "error"),
    [
        ("__ping", None, InvalidEventName),
        ("a||b", None, InvalidEventName),
        (None, None, InvalidEventName),
        ("news", object(), InvalidPayload),
        ("news", float("nan"), InvalidPayload),
        ("news", "\ud800", InvalidPayload),
    ],
    ids=["reserved", "delimiter", "none", "object", "nan", "surrogate"],
)
async def test_what_cannot_be_sent_is_refused(
    call: Call, name: str, event: Any, data: object, error: type[Exception]
) -> None:
    async with clients("lobby") as connected:
        target = {"broadcast": [], "emit_to": [connected[0].id], "emit_to_with_ack": [connected[0].id]}.get(name)
        with pytest.raises(error):
            await call(name, *(["lobby"] if target is None else target), event, data)
        assert await got(*connected) == [[]]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_burst_of_one_handler_arrives_whole_and_in_order(is_async: bool) -> None:
    count = 10_000 if is_async else 2_000

    @etp_event("burst")
    async def burst(connection: Connection, event: Event) -> None:
        for number in range(count):
            await rooms.aemit("lobby", "news", number)

    @etp_event("plain_burst")
    def plain_burst(connection: Connection, event: Event) -> None:
        for number in range(count):
            rooms.emit("lobby", "news", number)

    async with clients("lobby", "lobby") as connected:
        await connected[0].emit("burst" if is_async else "plain_burst")
        for client in connected:
            assert [await client.receive_frame() for _ in range(count)] == [f"news||0||{n}" for n in range(count)]
        assert await got(*connected) == [[], []]


async def test_a_burst_reaches_a_client_on_a_server_that_takes_its_time() -> None:
    async def slow(message: Any) -> None:
        await asyncio.sleep(0)

    @on_connect
    async def join(connection: Connection) -> None:
        await connection.ajoin("lobby")

    async with Wire(on_send=slow) as wire:
        for number in range(10_000):
            await rooms.aemit("lobby", "news", number)
        await until(lambda: len(wire.sent) == 10_001, timeout=20)
    assert [message["text"] for message in wire.sent[1:]] == [f"news||0||{number}" for number in range(10_000)]


async def test_a_sender_without_a_pause_lets_others_run() -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with clients("lobby"):
        turning = asyncio.create_task(turn())
        for _ in range(1000):
            await rooms.aemit("elsewhere", "news")
        turning.cancel()
    assert turns > 10
