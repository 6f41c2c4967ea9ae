"""Members and rooms: joined, left, counted, listed and closed, within one process; and their queries on the wire."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_etp import Connection, InvalidCloseCode, InvalidRoomName, TooManyRooms, on_connect, on_disconnect, rooms
from django_etp.cluster.messages import Frame
from django_etp.hub.names import group_name
from django_etp.hub.process import serving_hub
from django_etp.hub.queries import HubQuery, answer, read_query
from django_etp.rooms.queries import (
    ClearRooms,
    CloseAll,
    CloseConnection,
    CountMembers,
    FindMissed,
    GetConnection,
    JoinRooms,
    LeaveRooms,
    ListIds,
    ListMembers,
    ListRooms,
)
from tests.support.inprocess import Wire, until
from tests.support.rooms import Call, clients, got

pytestmark = pytest.mark.usefixtures("etp_registry")


# Membership


async def test_connections_join_and_leave(call: Call) -> None:
    async with clients("", "") as (first, second):
        await call("join", first.id, "lobby", "game")
        await call("join", second.connection, "lobby")
        await call("join", second.connection, "lobby")
        assert (await call("count", "lobby"), await call("count", "game")) == (2, 1)
        await call("leave", first.connection, "lobby", "never joined")
        await call("leave", second.id)
        assert (await call("count", "lobby"), await call("count", "game")) == (1, 1)
        await call("emit", "lobby", "news")
        assert await got(first, second) == [[], ["news"]]


async def test_a_room_is_cleared(call: Call) -> None:
    async with clients("a b", "a", "c") as connected:
        await call("clear", "a", "b", "empty")
        assert await call("names") == ["c"]
        await call("emit", ["a", "b", "c"], "news")
        assert await got(*connected) == [[], [], ["news"]]
        assert connected[0].connection.rooms == frozenset()


async def test_a_connection_that_ends_leaves_all_its_rooms(call: Call) -> None:
    async with clients("a b", "b") as (first, second):
        await first.disconnect()
        assert await call("names") == ["b"]
        assert [info.id for info in await call("members", "b")] == [second.id]
        await call("emit", ["a", "b"], "news")
        assert await got(second) == [["news"]]


# Looking


async def test_rooms_are_counted_and_named(call: Call) -> None:
    async with clients("b a", "b", "c"):
        assert await call("names") == ["a", "b", "c"]
        assert [await call("count", name) for name in ["a", "b", "c", "empty"]] == [1, 2, 1, 0]


async def test_members_are_listed_with_what_may_be_known_of_them(call: Call) -> None:
    async with clients("b a", user=User(pk=7, username="alice")) as (client,):
        expected = await rooms.aget(client.id)
        assert expected is not None
        assert (expected.id, expected.user_id, expected.rooms) == (client.id, 7, ("a", "b"))
        assert await call("members", "a") == [expected]
        assert await call("members", "empty") == []
        assert await call("connections") == [expected]
        assert await call("get", client.id) == expected


async def test_anonymous_members_have_no_user_id(call: Call) -> None:
    async with clients("lobby"):
        assert [info.user_id for info in await call("members", "lobby")] == [None]


async def test_all_connections_are_listed(call: Call) -> None:
    async with clients("a", "", "b") as connected, clients("a", namespace="other"):
        assert {info.id for info in await call("connections")} == {client.id for client in connected}


async def test_a_connection_that_is_not_accepted_yet_counts_as_nobodys_member(call: Call) -> None:
    inside, door, connections = asyncio.Event(), asyncio.Event(), []

    @on_connect
    async def wait(connection: Connection) -> None:
        await connection.ajoin("lobby")
        connections.append(connection)
        inside.set()
        await door.wait()

    wire = Wire().start()
    await inside.wait()
    id = connections[0].id
    assert (await call("names"), await call("count", "lobby"), await call("members", "lobby")) == ([], 0, [])
    assert (await call("connections"), await call("get", id)) == ([], None)
    assert await call("emit_with_ack", "lobby", "question") == []
    await call("emit", "lobby", "room")
    await call("broadcast", "all")
    await call("emit_to", id, "one")
    assert wire.sent == []
    door.set()
    assert (await wire.next())["type"] == "websocket.accept"
    assert [await wire.text() for _ in range(3)] == ["room||0", "all||0", "one||0"]
    assert await call("count", "lobby") == 1
    await wire.leave()


# Ending


async def test_a_connection_is_disconnected(call: Call) -> None:
    ended = []
    on_disconnect(lambda connection, disconnect: ended.append((disconnect.code, disconnect.reason)))
    async with clients("lobby", "lobby") as (first, second):
        await call("disconnect", first.id, 4000, "enough")
        assert (await first.expect_close(4000)).reason == "enough"
        await until(lambda: ended)
        assert ended == [(4000, "enough")]
        assert await call("count", "lobby") == 1
        assert await got(second) == [[]]


async def test_a_disconnect_is_normal_without_a_code(call: Call) -> None:
    async with clients("") as (client,):
        await call("disconnect", client.id)
        await client.expect_close(1000)


async def test_a_shutdown_closes_all_connections_of_the_namespace(call: Call) -> None:
    async with clients("", "lobby") as connected, clients("", namespace="other") as others:
        await call("shutdown", reason="maintenance")
        for client in connected:
            assert (await client.expect_close(1001)).reason == "maintenance"
        assert await got(*others) == [[]]
        await until_none_is_left(call)


async def until_none_is_left(call: Call) -> None:
    async with asyncio.timeout(2):
        while True:
            if not await call("connections"):
                return
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(("code", "reason"), [(1005, ""), (1006, ""), (7, ""), (1000, "x" * 124)])
async def test_a_close_that_rfc_6455_forbids_is_refused(call: Call, code: int, reason: str) -> None:
    async with clients("") as (client,):
        with pytest.raises(InvalidCloseCode):
            await call("disconnect", client.id, code, reason)
        with pytest.raises(InvalidCloseCode):
            await call("shutdown", code, reason)
        assert await got(client) == [[]]


async def test_a_connection_that_is_not_accepted_yet_can_be_disconnected(call: Call) -> None:
    inside, door, connections = asyncio.Event(), asyncio.Event(), []

    @on_connect
    async def wait(connection: Connection) -> None:
        connections.append(connection)
        inside.set()
        await door.wait()

    wire = Wire().start()
    await inside.wait()
    await call("disconnect", connections[0].id)
    assert (await wire.next())["type"] == "websocket.close"
    door.set()
    await wire.ended()


# Between processes, as releases before query classes did it


@pytest.mark.parametrize(
    ("action", "plain", "query"),
    [
        ("clear", ["default", ["a", "b"]], ClearRooms("default", ("a", "b"))),
        ("count", ["default", "a"], CountMembers("default", "a")),
        ("disconnect", ["default", "id", 4000, "enough"], CloseConnection("default", "id", 4000, "enough")),
        ("get", ["default", "id"], GetConnection("default", "id")),
        ("ids", ["default"], ListIds("default")),
        ("infos", ["default", "a"], ListMembers("default", "a")),
        ("infos", ["default", None], ListMembers("default", None)),
        ("join", ["default", "id", ["a", "b"]], JoinRooms("default", "id", ("a", "b"))),
        ("leave", ["default", "id", []], LeaveRooms("default", "id", ())),
        ("names", ["default"], ListRooms("default")),
        ("shutdown", ["default", 1001, ""], CloseAll("default", 1001, "")),
    ],
)
def test_a_query_travels_as_in_old_processes(action: str, plain: list[Any], query: HubQuery[Any]) -> None:
    assert read_query(action, plain) == query
    assert (query.action, query.to_plain()) == (action, plain)


async def test_the_queries_of_old_processes_are_answered_as_they_expect() -> None:
    async with clients("lobby game", "", user=User(pk=7)) as (client, other):
        hub = serving_hub()

        async def reply(action: str, *arguments: Any) -> Any:
            return await answer(hub, action, ["default", *arguments])

        times = [member.to_row()[2] for member in hub.membership.all()]
        lobby = [[client.id], [7], times[:1], [0], [["game", "lobby"]]]
        assert await reply("count", "lobby") == 1
        assert await reply("names") == ["game", "lobby"]
        assert sorted(await reply("ids")) == sorted([client.id, other.id])
        assert await reply("infos", "lobby") == await reply("get", client.id) == lobby
        assert await reply("infos", None) == [[client.id, other.id], [7, 7], times, [0, 1], [["game", "lobby"], []]]
        assert await reply("infos", "empty") == [[], [], [], [], []]
        assert await reply("join", other.id, ["lobby"]) is True
        assert await reply("leave", client.id, ["lobby"]) is True
        assert await reply("clear", ["game"]) is None
        assert (client.connection.rooms, other.connection.rooms) == (frozenset(), {"lobby"})
        assert await reply("disconnect", client.id, 4000, "enough") is True
        await client.expect_close(4000)
        assert await reply("shutdown", 1001, "") is None
        await other.expect_close(1001)
        for action, arguments in [("get", []), ("join", [["lobby"]]), ("leave", [[]]), ("disconnect", [1000, ""])]:
            assert await reply(action, "gone", *arguments) is None


async def test_a_connection_joins_no_more_rooms_than_it_may_be_in(call: Call, settings: Any) -> None:
    settings.ETP = {"MAX_ROOMS": 2}
    async with clients("a b") as (client,):
        with pytest.raises(TooManyRooms, match="in 2 and would join 1 more"):
            await call("join", client.id, "c")
        await call("join", client.id, "a", "b")
        reply = await answer(serving_hub(), "join", ["default", client.id, ["c"]])
        with pytest.raises(TooManyRooms, match="in 2 and would join 1 more"):
            JoinRooms("default", client.id, ("c",)).merge([None, reply])
        assert client.connection.rooms == {"a", "b"}


async def test_reserved_rooms_are_neither_sent_to_nor_listed_by_name(call: Call) -> None:
    async with clients("", user=User(pk=7, username="alice")) as (client,):
        for function in ("emit", "emit_with_ack", "clear", "count", "members"):
            arguments = ["news"] if function.startswith("emit") else []
            with pytest.raises(InvalidRoomName, match="reserved"):
                await call(function, "__user.7", *arguments)
        with pytest.raises(InvalidRoomName, match="reserved"):
            await call("emit", ["lobby", "__user.7"], "news")
        await call("emit", ["lobby", rooms.user(7)], "news")
        assert await call("count", rooms.user(7)) == 1
        assert [info.id for info in await call("members", rooms.user(7))] == [client.id]
        await call("clear", rooms.user(7))
        assert await got(client) == [["news"]]


@pytest.mark.parametrize(
    ("action", "arguments", "error"),
    [
        ("count", ["x" * 1001], InvalidRoomName),
        ("join", ["id", ["__user.7"]], InvalidRoomName),
        ("disconnect", ["id", 1005, ""], InvalidCloseCode),
        ("shutdown", [1000, "x" * 124], InvalidCloseCode),
    ],
)
def test_values_that_no_caller_can_pass_are_refused_from_other_processes_too(
    action: str, arguments: list[Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        read_query(action, ["default", *arguments])


def test_the_replies_of_old_processes_are_read() -> None:
    columns = [["a", "b"], [7, None], [0.0, 1.0], [0, 0], [["lobby"]]]
    infos = ListMembers("default", "lobby").merge([columns, [[], [], [], [], []]])
    assert [(info.id, info.user_id, info.rooms) for info in infos] == [("a", 7, ("lobby",)), ("b", None, ("lobby",))]
    assert GetConnection("default", "a").merge([None, columns]) == infos[0]
    assert GetConnection("default", "a").merge([None]) is None
    assert CountMembers("default", "lobby").merge([2, 0, 1]) == 3
    assert ListRooms("default").merge([["b", "a"], ["b"]]) == ["a", "b"]


# Relayed events


async def test_a_hub_has_missed_an_event_to_a_room_with_members_that_did_not_come() -> None:
    group = group_name("default", "a")
    async with clients("a"):
        serving_hub().deliver_frame(group, Frame("news||0", emission="~1"))
        query = FindMissed("", (group, group, "no group"), ("~1", "~2", "~3"))
        assert await query.reply(serving_hub()) == ["~2"]
        assert read_query(FindMissed.action, query.to_plain()) == query
    assert query.merge([[], ["~2"], ["~3", "~2"]]) == {"~2", "~3"}
