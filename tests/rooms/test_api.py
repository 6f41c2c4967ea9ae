"""Rooms within one process, through the public API: from handlers, views, threads and other Channels code."""

import asyncio
import inspect
import subprocess
import sys
import threading
import uuid
from textwrap import dedent
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.contrib.auth.models import AnonymousUser, User
from django.http import HttpRequest, JsonResponse
from django.test import AsyncClient, Client
from django.urls import path

from django_etp import (
    Connection,
    ConnectionClosed,
    Event,
    InvalidRoomName,
    SyncCallInEventLoop,
    etp_event,
    on_connect,
    on_disconnect,
    rooms,
)
from tests.support.rooms import Call, answering, clients, got

pytestmark = [pytest.mark.usefixtures("etp_registry"), pytest.mark.urls(__name__)]

# Names


@pytest.mark.parametrize("name", [None, 7, "x" * 1001])
def test_only_rooms_have_the_group_of_a_room(name: Any) -> None:
    with pytest.raises(InvalidRoomName):
        rooms.group_name(name)


BAD_NAMES = [7, None, b"lobby", "x" * 1001, "\ud800"]


@pytest.mark.parametrize("room", BAD_NAMES, ids=lambda value: type(value).__name__)
async def test_what_is_no_room_name_is_refused(call: Call, room: Any) -> None:
    async with clients("lobby") as connected:
        for name, args in [
            ("emit", [["lobby", room], "news"]),
            ("emit_with_ack", [["lobby", room], "news"]),
            ("join", [connected[0].id, "other", room]),
            ("leave", [connected[0].id, "lobby", room]),
            ("clear", ["lobby", room]),
            ("count", [room]),
            ("members", [room]),
        ]:
            with pytest.raises(InvalidRoomName):
                await call(name, *args)
        for name in ("emit", "emit_with_ack"):
            with pytest.raises(InvalidRoomName, match=f"got {type(room).__name__}|must have|lone surrogate"):
                await call(name, room, "news")
        assert await got(*connected) == [[]]
        assert connected[0].connection.rooms == {"lobby"}


@pytest.mark.parametrize("user", [AnonymousUser(), User(username="not saved yet"), None])
def test_who_has_no_key_has_no_room(user: Any) -> None:
    with pytest.raises(InvalidRoomName, match="is_authenticated"):
        rooms.user(user)


def test_rooms_are_of_a_namespace_with_a_name() -> None:
    with pytest.raises(TypeError, match="must be str, got NoneType"):
        rooms.of(None)  # type: ignore[arg-type]


async def test_a_users_room_is_not_joined_left_or_cleared_by_name(call: Call) -> None:
    ann = User(pk=7, username="ann")
    room = rooms.user(ann)
    async with clients("", user=ann) as (device,), clients("") as (other,):
        for api, args in [(rooms, [other.id]), (other.connection, [])]:
            with pytest.raises(InvalidRoomName, match="reserved"):
                await call("join", *args, "kitchen", room, api=api)
        with pytest.raises(InvalidRoomName, match="reserved"):
            await call("leave", device.id, room)
        await call("leave", room, api=device.connection)
        await call("clear", room)
        await call("emit", [room, "kitchen"], "news")
        assert await got(device, other) == [["news"], []]
        assert await call("names") == []


@pytest.mark.parametrize("room", ["", " ", "ünï €🎈", "with||delimiter", "x" * 1000, "a.b/c\n", "None"])
async def test_a_room_name_is_any_text(call: Call, room: str) -> None:
    async with clients("") as (client,):
        await call("join", client.id, room)
        assert await call("names") == [room]
        assert await call("count", room) == 1
        await call("emit", room, "news")
        assert await got(client) == [["news"]]


@pytest.mark.parametrize("id", ["gone", "", "0123456789abcdef.0123"])
async def test_what_needs_a_connection_says_when_it_is_gone(call: Call, id: str) -> None:
    async with clients(""):
        for name, args in [
            ("emit_to_with_ack", ["question"]),
            ("join", ["lobby"]),
            ("leave", ["lobby"]),
            ("disconnect", []),
        ]:
            with pytest.raises(ConnectionClosed):
                await call(name, id, *args)
        assert await call("get", id) is None


@pytest.mark.parametrize("no_id", [None, 7, b"id"], ids=repr)
async def test_what_is_no_connection_nor_its_id_is_refused(call: Call, no_id: Any) -> None:
    async with clients("lobby") as (client,):
        for name, args, options in [
            ("emit", ["lobby", "news"], {"exclude": [no_id]}),
            ("broadcast", ["news"], {"exclude": [client.id, no_id]}),
            ("emit_to", [no_id, "news"], {}),
            ("emit_to_with_ack", [no_id, "question"], {}),
            ("join", [no_id, "lobby"], {}),
            ("leave", [no_id, "lobby"], {}),
            ("get", [no_id], {}),
            ("data", [no_id], {}),
            ("update_data", [no_id, {}], {}),
            ("disconnect", [no_id], {}),
        ]:
            with pytest.raises(TypeError, match=f"A connection's id must be str, got {type(no_id).__name__}"):
                await call(name, *args, **options)
        assert await got(client) == [[]]


async def test_an_id_that_cannot_be_utf_8_names_nobody(call: Call) -> None:
    async with clients("lobby") as (client,):
        id = f"{client.id.partition('.')[0]}.\ud800"
        await call("emit", "lobby", "news", exclude=[id])
        await call("emit_to", id, "news")
        assert await call("get", id) is None
        for name, args in [
            ("emit_to_with_ack", [id, "question"]),
            ("join", [id, "lobby"]),
            ("leave", [id, "lobby"]),
            ("data", [id]),
            ("update_data", [id, {}]),
            ("disconnect", [id]),
        ]:
            with pytest.raises(ConnectionClosed, match="is gone, or never was"):
                await call(name, *args)
        assert await got(client) == [["news"]]


async def test_a_connection_in_place_of_its_id_is_refused(call: Call) -> None:
    async with clients("") as (client,):
        with pytest.raises(TypeError, match=r"got Connection: <Connection .* Pass the connection's \.id"):
            await call("emit_to", client.connection, "news")


@pytest.mark.parametrize("timeout", ["5", float("nan")])
async def test_a_time_that_is_no_number_of_seconds_is_refused(call: Call, timeout: Any) -> None:
    async with clients("lobby") as (client,):
        for name, args in [
            ("emit_with_ack", ["lobby", "question"]),
            ("emit_to_with_ack", [client.id, "question"]),
            ("join", [client.id, "lobby"]),
            ("names", []),
            ("shutdown", []),
        ]:
            with pytest.raises(TypeError, match="timeout= must be a number of seconds"):
                await call(name, *args, timeout=timeout)
        assert await got(client) == [[]]


# Namespaces


async def test_each_namespace_has_rooms_of_its_own(call: Call) -> None:
    other_rooms = rooms.of("other")
    async with clients("lobby") as (client,), clients("lobby game", namespace="other") as (other,):
        await call("emit", "lobby", "here")
        await call("emit", "lobby", "there", api=other_rooms)
        assert await got(client, other) == [["here"], ["there"]]
        assert await call("names", api=other_rooms) == ["game", "lobby"]
        assert await call("names") == ["lobby"]
        assert await call("get", client.id, api=other_rooms) is None
        with pytest.raises(ConnectionClosed):
            await call("join", client.id, "lobby", api=other_rooms)
        await call("emit_to", client.id, "astray", api=other_rooms)
        await call("shutdown", api=other_rooms)
        await other.expect_close(1001)
        assert await got(client) == [[]]


def test_the_rooms_of_a_namespace_are_always_the_same() -> None:
    assert rooms.of("game") is rooms.of("game")
    assert rooms.of("game") is not rooms.of("default")
    assert "'game'" in repr(rooms.of("game"))


def test_a_bounded_number_of_namespaces_is_kept():
    for number in range(3000):
        rooms.of(f"tenant {number}")
    assert rooms.api.of.cache_info().currsize == 1024


# The twins


TWINS = [
    name.removeprefix("a")
    for name, function in inspect.getmembers(rooms.Rooms, inspect.iscoroutinefunction)
    if not name.startswith("_")
]


def test_the_api_is_whole() -> None:
    assert sorted([*TWINS, "group_name"]) == [
        "broadcast",
        "clear",
        "connection_ids",
        "connections",
        "count",
        "data",
        "disconnect",
        "emit",
        "emit_on_commit",
        "emit_to",
        "emit_to_with_ack",
        "emit_with_ack",
        "get",
        "group_name",
        "is_online",
        "join",
        "leave",
        "members",
        "names",
        "present",
        "recheck",
        "shutdown",
        "update_data",
    ]


@pytest.mark.parametrize("name", TWINS)
def test_twins_take_the_same_arguments(name: str) -> None:
    for api in (rooms, rooms.of("other"), rooms.Rooms):
        assert inspect.signature(getattr(api, name)) == inspect.signature(getattr(api, f"a{name}"))
    assert getattr(rooms.Rooms, name).__doc__ == f"See a{name}()."


@pytest.mark.parametrize("name", TWINS)
async def test_a_plain_twin_in_an_event_loop_raises_at_once_and_names_the_other(name: str) -> None:
    arguments: dict[str, list[Any]] = {
        "broadcast": ["news"],
        "emit": ["lobby", "news"],
        "emit_on_commit": ["lobby", "news"],
        "emit_with_ack": ["lobby", "question"],
        "emit_to": ["id", "news"],
        "emit_to_with_ack": ["id", "question"],
        "join": ["id", "lobby"],
        "leave": ["id", "lobby"],
        "count": ["lobby"],
        "members": ["lobby"],
        "present": ["lobby"],
        "get": ["id"],
        "disconnect": ["id"],
        "data": ["id"],
        "update_data": ["id", {}],
    }
    async with clients("lobby") as (client,):
        with pytest.raises(SyncCallInEventLoop, match=rf"await a{name}\("):
            getattr(rooms, name)(*arguments.get(name, []))
        assert await got(client) == [[]]


@pytest.mark.parametrize("name", ["emit", "broadcast"])
def test_where_nobody_is_a_send_reaches_nobody(name: str) -> None:
    getattr(rooms, name)(*(["lobby"] if name == "emit" else []), "news")


def test_where_nobody_is_nobody_is_found() -> None:
    assert (rooms.names(), rooms.count("lobby"), rooms.members("lobby"), rooms.connections()) == ([], 0, [], [])
    assert rooms.get("id") is None
    assert rooms.emit_with_ack("lobby", "question") == []
    with pytest.raises(ConnectionClosed):
        rooms.join("id", "lobby")


async def test_where_nobody_is_coroutines_find_nobody_either() -> None:
    assert (await rooms.anames(), await rooms.acount("lobby"), await rooms.aget("id")) == ([], 0, None)
    await rooms.aemit("lobby", "news")


def test_where_nobody_is_the_log_says_so_once() -> None:
    program = """
        import django
        from django.conf import settings

        apps = ["django.contrib.auth", "django.contrib.contenttypes", "django_etp"]
        settings.configure(INSTALLED_APPS=apps, CHANNEL_LAYERS={layers})
        django.setup()
        from django_etp import rooms

        for _ in range(2):
            rooms.emit("lobby", "news")
            rooms.count("lobby")
    """
    for layers in ({}, {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}):
        code = dedent(program).replace("{layers}", repr(layers))
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert result.stderr.count("No recipients") == len(result.stderr.splitlines()) == 1


# From handlers


async def test_an_async_handler_sends_to_its_room() -> None:
    @etp_event("say")
    async def say(connection: Connection, event: Event) -> None:
        await rooms.aemit("lobby", "said", event.data, exclude=[connection])

    async with clients("lobby", "lobby") as (first, second):
        await first.emit_with_ack("say", "hello")
        assert (await second.expect_event("said")).data == "hello"
        assert await got(first, second) == [[], []]


async def test_a_plain_handler_sends_to_its_room_and_looks_at_it() -> None:
    @etp_event("say")
    def say(connection: Connection, event: Event) -> int:
        rooms.emit("lobby", "said", event.data)
        return rooms.count("lobby")

    async with clients("lobby", "lobby") as connected:
        assert (await connected[0].emit_with_ack("say", "hello")).data == "2"
        assert await got(*connected) == [["said"], ["said"]]


async def test_hooks_send_to_rooms() -> None:
    @on_connect
    async def came(connection: Connection) -> None:
        await connection.ajoin("lobby")
        await rooms.aemit("lobby", "came", exclude=[connection])

    @on_disconnect
    def went(connection: Connection, disconnect: object) -> None:
        rooms.emit("lobby", "went")

    async with clients("") as (client,):
        async with clients(""):
            pass
        assert await client.names(2) == ["came", "went"]


# From threads and other loops


async def test_threads_send_side_by_side_each_in_order() -> None:
    def work(name: int) -> None:
        for number in range(100):
            rooms.emit("lobby", "news", [name, number])

    async with clients("lobby") as (client,):
        threads = [threading.Thread(target=work, args=[name]) for name in range(4)]
        for thread in threads:
            thread.start()
        frames = [(await client.expect_event("news")).json() for _ in range(400)]
        await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    for name in range(4):
        assert [number for of, number in frames if of == name] == list(range(100))


async def test_another_event_loop_sends_and_asks() -> None:
    async def elsewhere() -> tuple[int, str]:
        await rooms.aemit("lobby", "news")
        (reply,) = await rooms.aemit_with_ack("lobby", "question")
        assert reply.event is not None
        return await rooms.acount("lobby"), reply.event.data

    async with clients("lobby") as (client,):
        working = asyncio.ensure_future(asyncio.to_thread(asyncio.run, elsewhere()))
        await client.expect_event("news")
        await answering(client, "fine")
        assert await working == (1, "fine")


async def test_code_under_async_to_sync_sends() -> None:
    async with clients("lobby") as (client,):
        await sync_to_async(lambda: async_to_sync(rooms.aemit)("lobby", "news"))()
        assert await got(client) == [["news"]]


# From HTTP views


def plain_view(request: HttpRequest) -> JsonResponse:
    rooms.emit("lobby", "news", request.GET["text"])
    return JsonResponse({"count": rooms.count("lobby")})


async def async_view(request: HttpRequest) -> JsonResponse:
    await rooms.aemit("lobby", "news", request.GET["text"])
    return JsonResponse({"count": await rooms.acount("lobby")})


async def wrong_view(request: HttpRequest) -> JsonResponse:
    rooms.emit("lobby", "news")
    return JsonResponse({})


urlpatterns = [path("plain/", plain_view), path("async/", async_view), path("wrong/", wrong_view)]


@pytest.mark.parametrize("url", ["/plain/", "/async/"])
@pytest.mark.parametrize("is_async", [True, False], ids=["ASGI", "WSGI"])
async def test_a_view_sends_and_looks(url: str, is_async: bool) -> None:
    async with clients("lobby", "lobby") as connected:
        if is_async:
            response = await AsyncClient().get(url, {"text": "hello"})
        else:
            response = await asyncio.to_thread(Client().get, url, {"text": "hello"})
        assert response.json() == {"count": 2}
        for client in connected:
            assert (await client.expect_event("news")).data == "hello"


async def test_an_async_view_that_calls_a_plain_twin_is_told() -> None:
    async with clients("lobby") as (client,):
        with pytest.raises(SyncCallInEventLoop, match="await aemit"):
            await AsyncClient().get("/wrong/")
        assert await got(client) == [[]]


# From other Channels code


async def test_other_channels_code_sends_to_a_rooms_group() -> None:
    layer = get_channel_layer()
    async with clients("lobby", "lobby game", "game") as connected:
        await layer.group_send(
            rooms.group_name("lobby"), {"type": "etp.emit", "room": "lobby", "event": "news", "data": {"id": 7}}
        )
        for client in connected[:2]:
            assert (await client.expect_event("news")).json() == {"id": 7}
        await layer.group_send(rooms.group_name("game"), {"type": "etp.emit", "room": "game", "event": "bare"})
        for client in connected[1:]:
            assert await client.receive_frame() == "bare||0"
        assert await got(*connected) == [[], [], []]


async def test_other_channels_code_sends_to_the_group_of_another_namespace() -> None:
    async with clients("lobby") as (client,), clients("lobby", namespace="other") as (other,):
        message = {"type": "etp.emit", "room": "lobby", "event": "news", "namespace": "other"}
        await get_channel_layer().group_send(rooms.of("other").group_name("lobby"), message)
        await other.expect_event("news")
        assert await got(client) == [[]]


async def test_other_channels_code_in_a_thread_sends_to_a_rooms_group() -> None:
    async with clients("lobby") as (client,):
        message = {"type": "etp.emit", "room": "lobby", "event": "news"}
        send = async_to_sync(get_channel_layer().group_send)
        await sync_to_async(send)(rooms.group_name("lobby"), message)
        await client.expect_event("news")


MALFORMED: list[dict[str, Any]] = [
    {},
    {"type": "chat.message", "text": "hello"},
    {"type": None},
    {"type": ["etp.emit"]},
    {"type": "etp.emit"},
    {"type": "etp.emit", "room": "lobby"},
    {"type": "etp.emit", "event": "news"},
    {"type": "etp.emit", "room": ["lobby"], "event": "news"},
    {"type": "etp.emit", "room": {"lobby": 1}, "event": "news"},
    {"type": "etp.emit", "room": None, "event": "news"},
    {"type": "etp.emit", "room": 7, "event": "news"},
    {"type": "etp.emit", "room": "lobby", "event": None},
    {"type": "etp.emit", "room": "lobby", "event": ["news"]},
    {"type": "etp.emit", "room": "lobby", "event": "a||b"},
    {"type": "etp.emit", "room": "lobby", "event": "__ping"},
    {"type": "etp.emit", "room": "lobby", "event": "news", "data": {1, 2}},
    {"type": "etp.emit", "room": "lobby", "event": "news", "data": "\ud800"},
    {"type": "etp.emit", "room": "lobby", "event": "news", "namespace": ["default"]},
    {"type": "etp.emit", "room": "lobby", "event": "news", "namespace": None},
    {"type": "etp.emit", "room": "lobby", "event": "news", "v": 99},
    {"type": "etp.emit", "room": "lobby", "event": "news", "v": "one"},
    {"type": "etp.room"},
    {"type": "etp.question", "id": 1},
]


@pytest.mark.parametrize("message", MALFORMED, ids=str)
async def test_a_malformed_message_of_other_channels_code_is_harmless(message: dict[str, Any]) -> None:
    layer, group = get_channel_layer(), rooms.group_name("lobby")
    async with clients("lobby") as (client,):
        await layer.group_send(group, message)
        await layer.group_send(group, {"type": "etp.emit", "room": "lobby", "event": "after"})
        assert await client.names(1) == ["after"]


async def test_a_malformed_message_of_other_channels_code_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    kind = uuid.uuid4().hex[:12]
    async with clients("lobby") as (client,):
        for _ in range(3):
            await get_channel_layer().group_send(rooms.group_name("lobby"), {"type": kind})
        await get_channel_layer().group_send(
            rooms.group_name("lobby"), {"type": "etp.emit", "room": "lobby", "event": "after"}
        )
        await client.expect_event("after")
    assert [kind in record.getMessage() for record in caplog.records].count(True) == 1


async def test_a_message_to_the_group_of_a_room_that_was_left_reaches_nobody() -> None:
    async with clients("lobby") as (client,):
        await client.connection.aleave("lobby")
        await get_channel_layer().group_send(
            rooms.group_name("lobby"), {"type": "etp.emit", "room": "lobby", "event": "news"}
        )
        assert await got(client) == [[]]


@pytest.mark.parametrize("room", [name for name in BAD_NAMES if name is not None], ids=lambda v: type(v).__name__)
def test_what_is_no_room_name_has_no_group(room: Any) -> None:
    with pytest.raises(InvalidRoomName):
        rooms.group_name(room)


# Without a channel layer


async def test_rooms_work_without_a_channel_layer(settings: Any, call: Call) -> None:
    settings.CHANNEL_LAYERS = {}
    async with clients("lobby") as (client,):
        await call("emit", "lobby", "news")
        assert await call("count", "lobby") == 1
        assert await got(client) == [["news"]]
