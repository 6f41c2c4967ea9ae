"""The rooms API across two server processes, a daphne and a uvicorn, over both layers of channels-redis."""

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.utils.module_loading import import_string
from websockets.frames import Frame, Opcode

from django_etp import rooms
from tests.site.settings import INSTALLED_APPS
from tests.support.audience import Listener, hear_nothing_more, listener
from tests.support.peers import RawPeer, connect, eventually, expect_nothing, receive
from tests.support.servers import Server, start_server
from tests.support.valkey import LAYERS, Valkey, start_valkey

NAMESPACE = "cluster"
HOW = pytest.mark.parametrize("how", ["call", "call_sync"])

_numbers = count(1)


@dataclass(frozen=True)
class Cluster:
    """Two server processes on one layer."""

    kind: str
    valkey: Valkey
    here: Server
    there: Server

    @property
    def layers(self) -> dict[str, Any]:
        return self.valkey.layers(self.kind)


@pytest.fixture(scope="module", params=LAYERS)
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with start_valkey() as valkey:
        settings = {"CHANNEL_LAYERS": valkey.layers(request.param)}
        with start_server("daphne", settings=settings) as here, start_server("uvicorn", settings=settings) as there:
            yield Cluster(request.param, valkey, here, there)
            for server in (here, there):
                server.stop()
                assert server.complaints == []


@pytest.fixture
def room() -> str:
    """A name that no other test uses."""
    return f"room-{next(_numbers)}"


@pytest.fixture
async def here(cluster: Cluster, room: str) -> AsyncIterator[Listener]:
    """A member of the room at the one server, whose handlers call the API."""
    async with listener(cluster.here, room) as member:
        yield member


@pytest.fixture
async def there(cluster: Cluster, room: str) -> AsyncIterator[Listener]:
    """A member of the room at the other server."""
    async with listener(cluster.there, room) as member:
        yield member


@pytest.fixture
async def gone(cluster: Cluster) -> str:
    """The id of a connection of the other server that has ended."""
    async with listener(cluster.there) as member:
        pass
    return member.id


# Sending


@HOW
async def test_an_emit_reaches_the_members_in_both_processes(here, there, room, how):
    assert await here.call(how, "emit", room, "news", {"a": "ü"}) is None
    await here.hear(("news", '{"a":"ü"}'))
    await there.hear(("news", '{"a":"ü"}'))


@HOW
async def test_an_emit_reaches_only_the_members(cluster, here, there, room, how):
    async with listener(cluster.there, "elsewhere") as other:
        await here.call(how, "emit", room, "news")
        await there.hear(("news", ""))
        await hear_nothing_more(other)


@HOW
@pytest.mark.parametrize("excluded", ["here", "there"])
async def test_an_excluded_connection_gets_none_in_either_process(here, there, room, how, excluded):
    members = {"here": here, "there": there}
    out = members.pop(excluded)
    await here.call(how, "emit", room, "news", exclude=[out.id])
    for member in members.values():
        await member.hear(("news", ""))
    await hear_nothing_more(out)


@HOW
async def test_an_id_that_cannot_be_utf_8_takes_no_other_event_along(here, there, room, how):
    emits = [here.call(how, "emit", room, "news", exclude=["\ud800"] if odd else []) for odd in [0, 1] * 10]
    emits += [here.call(how, "emit_to", id, "news") for id in [there.id, f"{there.id}\ud800"] * 5]
    assert await asyncio.gather(*emits) == [None] * 30
    await there.hear(*[("news", "")] * 25)


@HOW
async def test_a_member_of_several_rooms_gets_one_copy(cluster, room, how):
    names = [f"{room}-{name}" for name in "abc"]
    async with (
        listener(cluster.here, *names) as here,
        listener(cluster.there, *names) as there,
        listener(cluster.there, names[1]) as one,
    ):
        await here.call(how, "emit", names, "news", "x")
        for member in (here, there, one):
            await member.hear(("news", "x"))
        await hear_nothing_more(here, there, one)


@HOW
async def test_a_send_to_a_thousand_rooms_takes_no_more_than_their_names(cluster, here, there, room, how):
    names = [f"{room}-{number}-{'x' * 50}" for number in range(1000)]
    sets = names[:2], names[3:5], names[-1:]
    async with (
        listener(cluster.there, *sets[0]) as one,
        listener(cluster.there, *sets[1]) as excluded,
        listener(cluster.here, *sets[2]) as other,
    ):
        before = _received_bytes(cluster.valkey)
        await here.call(how, "emit", names, "news", "x", exclude=[excluded.id])
        await here.call(how, "emit", [*names, room], "more")
        for member in (one, other):
            await member.hear(("news", "x"), ("more", ""))
        await there.hear(("more", ""))
        assert _received_bytes(cluster.valkey) - before < 1_000_000
        await hear_nothing_more(one, other, there)


def _received_bytes(valkey: Valkey) -> int:
    stats = valkey.command("INFO", "stats").decode()
    return int(re.search(r"total_net_input_bytes:(\d+)", stats)[1])


@HOW
async def test_a_broadcast_reaches_every_connection_of_the_namespace(cluster, here, there, how):
    async with listener(cluster.there) as roomless, listener(cluster.there) as excluded:
        await here.call(how, "broadcast", "news", "x", exclude=[excluded.id])
        for member in (here, there, roomless):
            await member.hear(("news", "x"))
        await hear_nothing_more(excluded)


@HOW
async def test_what_is_sent_to_one_connection_reaches_that_one(here, there, how):
    for member in (here, there):
        await here.call(how, "emit_to", member.id, "news", "x")
        await member.hear(("news", "x"))
    await hear_nothing_more(here, there)


@HOW
@pytest.mark.parametrize("id", ["", "nobody", "a b/ü!", "0123456789abcdef.0123456789abcdef", "x" * 2000])
async def test_what_is_sent_to_an_id_that_never_was_is_dropped_in_silence(here, how, id):
    assert await here.call(how, "emit_to", id, "news") is None


@HOW
async def test_what_is_sent_to_a_gone_connection_is_dropped_in_silence(here, gone, how):
    assert await here.call(how, "emit_to", gone, "news") is None


@HOW
@pytest.mark.parametrize("where", ["here", "there"])
async def test_what_is_sent_to_a_connection_of_another_namespace_reaches_nobody(cluster, here, how, where):
    server = getattr(cluster, where)
    async with connect(server, subprotocols=["etp.ext.v1"]) as stranger, listener(server) as neighbour:
        _, _, hello = str(await receive(stranger)).split("||", 2)
        assert await here.call(how, "emit_to", json.loads(hello)["id"], "news") is None
        await here.call(how, "emit_to", neighbour.id, "last")  # the same way, behind it
        await neighbour.hear(("last", ""))
        await stranger.send("echo||1||x")
        assert str(await receive(stranger)).startswith("__ack_echo||1")


async def test_the_order_of_a_sender_is_kept(here, there, room):
    await here.ask("burst", [room, "s", 500])
    expected = [("burst", f"s:{number}") for number in range(500)]
    await here.hear(*expected)
    await there.hear(*expected)


# Declared rooms


@HOW
async def test_members_of_a_declared_room_are_reached_and_taken_out_from_the_other_process(
    cluster, here, there, room, how
):
    name = f"declared/{room}"
    await there.ask("join", [name])
    async with connect(cluster.there, "/cluster/", subprotocols=["etp.ext.v2"]) as guest:
        await receive(guest)
        await guest.send(f'__join||1||{{"room": "{name}"}}')
        assert await receive(guest) == f'__ack___join||1||{{"state":{{"name":"{room}"}}}}'
        await here.call(how, "emit", name, "news", "x")
        assert await receive(guest) == f"__in {name} news||0||x"
        await there.hear(("news", "x"))
        await here.call(how, "emit", [room, name], "more")
        assert await receive(guest) == f"__in {name} more||0"
        await there.hear(("more", ""))
        await there.ask("shut", room)
        await here.call(how, "recheck", room=name)
        left = str(await receive(guest, timeout=2))
        assert left.startswith("__left||0||")
        assert json.loads(left.split("||")[2])["code"] == "permission_denied"
        await here.call(how, "emit", name, "after")
        await there.hear(("after", ""))  # put in by the application
        await guest.send("id||2")
        assert str(await receive(guest)).startswith("__ack_id||2")


# Questions to members


@HOW
async def test_a_question_to_a_connection_returns_its_answer(here, there, how):
    for member in (here, there):
        answer = await here.call(how, "emit_to_with_ack", member.id, "ask", {"a": 1})
        assert (answer["name"], answer["data"]) == ("__ack_ask", '{"a":1}')


@HOW
async def test_a_question_to_a_connection_that_gives_no_answer_times_out(cluster, here, how):
    async with listener(cluster.there, answers={"ask": None}) as silent:
        outcome = await here.call(how, "emit_to_with_ack", silent.id, "ask", timeout=0.2)
        assert outcome["error"] == "AckTimeout"


@HOW
async def test_a_question_to_a_connection_that_leaves_raises_connection_closed(cluster, here, how):
    async with listener(cluster.there, answers={"ask": "bye"}) as leaving:
        outcome = await here.call(how, "emit_to_with_ack", leaving.id, "ask")
        assert outcome["error"] == "ConnectionClosed"


@HOW
@pytest.mark.parametrize("id", ["", "nobody", "a b/ü!"])
async def test_a_question_to_an_id_that_never_was_raises_connection_closed(here, how, id):
    assert (await here.call(how, "emit_to_with_ack", id, "ask"))["error"] == "ConnectionClosed"


@HOW
async def test_a_question_to_a_room_returns_what_became_of_it_at_each_member(cluster, here, room, how):
    async with (
        listener(cluster.there, room, answers={"ask": "b"}) as answering,
        listener(cluster.there, room, answers={"ask": None}) as silent,
        listener(cluster.there, room, answers={"ask": "bye"}) as leaving,
    ):
        replies = await here.call(how, "emit_with_ack", room, "ask", "a", timeout=0.5)
        found = {reply["connection_id"]: (reply["status"], (reply["event"] or {}).get("data")) for reply in replies}
        assert found == {
            here.id: ("answered", "a"),
            answering.id: ("answered", "b"),
            silent.id: ("timed_out", None),
            leaving.id: ("gone", None),
        }


@HOW
async def test_a_question_to_several_rooms_reaches_each_member_once(cluster, here, room, how):
    async with listener(cluster.there, room, f"{room}-too") as both:
        replies = await here.call(how, "emit_with_ack", [room, f"{room}-too"], "ask", timeout=5)
        assert sorted(reply["connection_id"] for reply in replies) == sorted([here.id, both.id])
        await both.hear(("ask", ""))


@HOW
async def test_a_question_to_an_empty_room_has_no_replies(here, how):
    assert await here.call(how, "emit_with_ack", "nobody is here", "ask", timeout=5) == []


# Membership


@HOW
async def test_a_connection_elsewhere_can_be_put_into_rooms_and_taken_out(here, there, room, how):
    assert await here.call(how, "join", there.id, f"{room}-a", f"{room}-b") is None
    assert await here.call(how, "count", f"{room}-a") == 1
    await here.call(how, "emit", f"{room}-b", "news")
    await there.hear(("news", ""))
    assert await here.call(how, "leave", there.id, f"{room}-b", "never joined") is None
    assert (await here.call(how, "get", there.id))["rooms"] == [room, f"{room}-a"]
    await here.call(how, "emit", f"{room}-b", "news")
    await hear_nothing_more(there)


async def test_rooms_that_are_joined_and_left_at_once_are_not_heard(cluster, room):
    names, last = [f"{room}-{number}" for number in range(8)], [f"{room}-last"]
    group_of = {rooms.of(NAMESPACE).group_name(name): name for name in names + last}
    texts = [f"join||0||{json.dumps(names)}", f"leave||0||{json.dumps(names)}", f"join||1||{json.dumps(last)}"]
    async with await RawPeer.connect(cluster.here, "/cluster/") as peer:
        # At once: the server has the second before anything has come of the first.
        await peer.send_bytes(b"".join(Frame(Opcode.TEXT, text.encode()).serialize(mask=True) for text in texts))
        assert await peer.receive_text() == "__ack_join||1"

        async def heard() -> list[str]:
            found = cluster.valkey.command("PUBSUB", "CHANNELS") + cluster.valkey.command("KEYS", "*")
            return [name for group, name in group_of.items() if any(each.decode().endswith(group) for each in found)]

        await eventually(heard, lambda found: found == last, timeout=5)


@HOW
@pytest.mark.parametrize("name", ["join", "leave"])
async def test_a_gone_connection_can_neither_join_nor_leave(here, gone, room, how, name):
    assert (await here.call(how, name, gone, room))["error"] == "ConnectionClosed"
    assert (await here.call(how, name, "nobody", room))["error"] == "ConnectionClosed"


@HOW
async def test_clear_takes_everyone_out_in_both_processes(here, there, room, how):
    assert await here.call(how, "count", room) == 2
    assert await here.call(how, "clear", room) is None
    assert await there.call(how, "count", room) == 0
    await there.call(how, "emit", room, "news")
    await hear_nothing_more(here, there)


# Looking


@HOW
async def test_everyone_counts_in_every_process(here, there, room, how):
    for member in (here, there):
        assert await member.call(how, "count", room) == 2
        assert await member.call(how, "count", "nobody is here") == 0


@HOW
async def test_names_are_those_of_both_processes(cluster, here, there, room, how):
    async with listener(cluster.there, f"{room}-there") as other:
        for member in (here, other):
            names = await member.call(how, "names")
            assert {room, f"{room}-there"} <= set(names)
            assert names == sorted(names)
            assert len(names) == len(set(names))


@HOW
async def test_members_tell_about_themselves(here, there, room, how):
    for member in (here, there):
        infos = await member.call(how, "members", room)
        assert {info["id"] for info in infos} == {here.id, there.id}
        for info in infos:
            assert info["user_id"] is None
            assert info["rooms"] == [room]
            connected_at = datetime.fromisoformat(info["connected_at"])
            assert timedelta(0) <= datetime.now(UTC) - connected_at < timedelta(minutes=5)


@HOW
async def test_connections_are_those_of_both_processes(cluster, here, there, how):
    async with listener(cluster.there) as roomless:
        infos = await here.call(how, "connections")
        assert {info["id"] for info in infos} == {here.id, there.id, roomless.id}


@HOW
async def test_any_process_can_get_a_connection(here, there, room, how):
    for member in (here, there):
        for other in (here, there):
            info = await member.call(how, "get", other.id)
            assert (info["id"], info["rooms"]) == (other.id, [room])


@HOW
@pytest.mark.parametrize("id", ["", "nobody", "a b/ü!", "0123456789abcdef.0123456789abcdef"])
async def test_what_is_known_of_an_id_that_never_was_is_nothing(here, how, id):
    assert await here.call(how, "get", id) is None


@HOW
async def test_what_is_known_of_a_gone_connection_is_nothing(here, gone, how):
    assert await here.call(how, "get", gone) is None


async def test_namespaces_are_apart(cluster, here):
    async with connect(cluster.there) as peer:  # a member of "all" in the namespace "default"
        await peer.send("broadcast||1||x")
        assert {await receive(peer), await receive(peer)} == {"news||0||x", "__ack_broadcast||1||1"}
        assert await here.call("call", "count", "all") == 0
        await here.call("call", "emit", "all", "news")
        await here.call("call", "broadcast", "news")
        await here.hear(("news", ""))
        await expect_nothing(peer)


async def test_a_connection_counts_in_every_process_from_its_accept_on(cluster, here, room):
    for _ in range(20):
        async with connect(cluster.there, f"/cluster/?{room}"):
            assert await here.call("call", "count", room) == 2

        async def count() -> Any:
            return await here.call("call", "count", room)

        await eventually(count, lambda found: found == 1, interval=0.01)


async def test_a_question_is_answered_as_soon_as_all_have_answered(here, there, room):
    loop = asyncio.get_running_loop()
    started = loop.time()
    for _ in range(20):
        assert await here.call("call", "count", room, timeout=60) == 2
    assert loop.time() - started < 20


# Ending


@HOW
async def test_a_connection_elsewhere_can_be_closed(cluster, here, how):
    async with listener(cluster.there) as other:
        assert await here.call(how, "disconnect", other.id, 4001, "enough") is None
        assert await other.expect_close() == (4001, "enough")
    outcome = await here.call(how, "disconnect", other.id)
    assert outcome["error"] == "ConnectionClosed"


@HOW
async def test_a_shutdown_closes_every_connection_of_the_namespace(cluster, here, there, how):
    async with connect(cluster.there) as stranger, listener(cluster.there) as roomless:
        with suppress(asyncio.CancelledError):  # the answer has no connection left
            await here.call(how, "shutdown", 4002, "good night")
        reason = {member: "" if member is here else "good night" for member in (here, there, roomless)}  # by daphne
        for member in (here, there, roomless):
            assert await member.expect_close() == (4002, reason[member])
        await stranger.send("hello||1")
        assert await receive(stranger) == "__ack_hello||1||hello handled"


# Answers that are not complete


async def test_what_the_others_said_is_told_where_a_process_does_not_answer(cluster, here, there, room):
    calls: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "count": ([room], {}),
        "names": ([], {}),
        "members": ([room], {}),
        "connections": ([], {}),
        "get": ([there.id], {}),
        "clear": (["some other room"], {}),
        "join": ([there.id, "b"], {}),
        "leave": ([there.id, "b"], {}),
        "disconnect": ([f"{there.id}0"], {}),
        "emit_with_ack": ([room, "ask", "a"], {"timeout": 0.5}),
        "emit_to_with_ack": ([there.id, "ask", "a"], {"timeout": 0.5}),
    }
    cluster.there.pause()
    try:
        outcomes = await asyncio.gather(
            *(
                here.call("call", name, *arguments, **{"timeout": 0.5, **keywords})
                for name, (arguments, keywords) in calls.items()
            )
        )
    finally:
        cluster.there.resume()
    errors = {name: outcome["error"] for name, outcome in zip(calls, outcomes, strict=True)}
    assert errors.pop("emit_to_with_ack") == "AckTimeout"
    assert set(errors.values()) == {"IncompleteAnswer"}, errors
    answers = {name: outcome["answer"] for name, outcome in zip(calls, outcomes, strict=True)}
    assert answers["count"] == 1
    assert answers["names"] == [room]
    for infos in (answers["members"], answers["connections"]):
        assert [(info["id"], info["rooms"]) for info in infos] == [(here.id, [room])]
    assert [(reply["connection_id"], reply["status"]) for reply in answers["emit_with_ack"]] == [(here.id, "answered")]
    for name in ("get", "clear", "join", "leave", "disconnect"):
        assert answers[name] is None

    async def ask() -> Any:
        return await here.call("call", "count", room)

    await eventually(ask, lambda outcome: outcome == 2)


# Rooms of any name


NAMES = {
    "empty": "",
    "control characters": "\0\x01\r\n\x1b[2J\x7f\u2028",
    "emoji": "👩‍👩‍👧‍👦 🎉",
    "exclamation marks": "!specific!",
    "delimiters": "||,{}[]\"'\\",
    "right to left": "\u202eغرفة",
    "a thousand characters": "x" * 1000,
    "a thousand characters outside ASCII": "\U0001f600" * 1000,
}


@HOW
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_any_text_can_name_a_room(cluster, how, name):
    async with listener(cluster.here) as here, listener(cluster.there) as there:
        for member in (here, there):
            await here.call(how, "join", member.id, name)
        assert await here.call(how, "count", name) == 2
        assert name in await here.call(how, "names")
        assert (await here.call(how, "get", there.id))["rooms"] == [name]
        await here.call(how, "emit", name, "news", "x")
        await here.hear(("news", "x"))
        await there.hear(("news", "x"))
        await here.call(how, "clear", name)
        assert name not in await here.call(how, "names")


@HOW
async def test_names_that_differ_in_case_are_two_rooms(cluster, here, room, how):
    async with listener(cluster.there, room.upper()) as there:
        assert await here.call(how, "count", room) == await here.call(how, "count", room.upper()) == 1
        await here.call(how, "emit", room, "news", "lower")
        await here.call(how, "emit", room.upper(), "news", "upper")
        await here.hear(("news", "lower"))
        await there.hear(("news", "upper"))


@HOW
@pytest.mark.parametrize("name", ["x" * 1001, 7, None], ids=["1,001 characters", "number", "nothing"])
async def test_other_names_are_refused(here, how, name):
    for call in (["emit", [name], "news"], ["count", name], ["join", here.id, name], ["clear", name]):
        assert (await here.call(how, *call))["error"] == "InvalidRoomName"


# Users


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize(
    ("settings", "key", "expected"),
    [
        ({}, "7", 7),
        (
            {"INSTALLED_APPS": [*INSTALLED_APPS, "tests.site.people"], "AUTH_USER_MODEL": "people.Person"},
            "6a8a0fcb-3a43-4cc1-9a39-6b6b8d7a3f01",
            "UUID('6a8a0fcb-3a43-4cc1-9a39-6b6b8d7a3f01')",
        ),
    ],
    ids=["number", "UUID"],
)
async def test_the_id_of_a_user_keeps_its_type_across_processes(kind, settings, key, expected):
    application = "tests.site.users:application"
    with start_valkey() as valkey:
        settings = {**settings, "CHANNEL_LAYERS": valkey.layers(kind)}
        with (
            start_server("daphne", application, settings=settings) as one,
            start_server("uvicorn", application, settings=settings) as other,
        ):
            async with listener(one, key) as here, listener(other, key) as there:
                for member in (here, there):
                    infos = await member.call("call", "members", key)
                    assert [info["user_id"] for info in infos] == [expected, expected]


# What others send on the layer


@pytest.fixture
async def layer(cluster: Cluster) -> AsyncIterator[Any]:
    """The servers' channel layer, in this process."""
    config = cluster.layers["default"]
    layer = import_string(config["BACKEND"])(**config["CONFIG"])
    yield layer
    await (layer.close_pools() if hasattr(layer, "close_pools") else layer.flush())


async def test_any_channels_code_can_send_to_a_room(layer, here, there, room):
    group = rooms.of(NAMESPACE).group_name(room)
    message = {"type": "etp.emit", "namespace": NAMESPACE, "room": room, "event": "news", "data": {"a": 1}}
    await layer.group_send(group, message)
    for member in (here, there):
        await member.hear(("news", '{"a":1}'))


ROOM = {"group": "g", "stream": "s.1", "born": 1.5, "number": 1, "frames_before": 0, "frames": ["news||0"]}
BEAT = {"hub": "h", "interval": 2.0, "channel": "c", "control_channel": "d"}
QUESTION = {"id": "q", "answer_to": "etp.ask.nobody", "action": "count", "arguments": [NAMESPACE, "r"]}
FOREIGN = {"namespace": NAMESPACE, "room": "r", "event": "news"}
TO_ROOMS: list[Any] = [
    {},
    {"type": "chat.message", "text": "from a stock consumer"},
    {"type": ["etp.room"]},
    {"type": "etp.room"},
    {"type": "etp.room", **ROOM, "v": 2},
    {"type": "etp.room", **ROOM, "v": "new"},
    *({"type": "etp.room", **ROOM, key: value} for key in ROOM for value in (None, {"a": 1}, b"\xff")),
    {"type": "etp.room", **ROOM, "number": 0},
    {"type": "etp.room", **ROOM, "number": -(2**63)},
    {"type": "etp.room", **ROOM, "born": float("nan")},
    {"type": "etp.room", **ROOM, "frames": [None]},
    {"type": "etp.room", **ROOM, "frames": [["news||0", ["a"], [], 7, ""]]},
    {"type": "etp.emit", **FOREIGN, "room": 7},
    {"type": "etp.emit", **FOREIGN, "event": "two||parts"},
    {"type": "etp.emit", **FOREIGN, "event": "__hello"},
    {"type": "etp.emit", **FOREIGN, "data": b"\xff"},
    {"type": "etp.emit", **FOREIGN, "namespace": None},
    {"type": "etp.beat", **BEAT},
    {"type": "etp.question", **QUESTION},
]
TO_HUBS: list[Any] = [
    {},
    {"type": "etp.room", **ROOM},
    {"type": "etp.emit", **FOREIGN},
    {"type": "etp.numbers", "streams": 7},
    {"type": "etp.numbers", "streams": ["all"]},
    {"type": "etp.numbers", "streams": [["g", "s.1", 1.5, 7, 3]]},
    {"type": "etp.numbers", "streams": [["g", "s.1", "now", 2**63, 2**63]]},
    *({"type": "etp.beat", **BEAT, key: value} for key in BEAT for value in (None, ["a"])),
    {"type": "etp.beat", **BEAT, "interval": -1},
    {"type": "etp.beat", **BEAT, "interval": 1e300},
    {"type": "etp.beat", **BEAT, "is_last": "yes"},
    *({"type": "etp.question", **QUESTION, key: value} for key in QUESTION for value in (None, {"a": 1})),
    {"type": "etp.question", **QUESTION, "answer_to": "etp.control"},
    {"type": "etp.question", **QUESTION, "action": "shut down"},
    {"type": "etp.question", **QUESTION, "action": "count", "arguments": []},
    {"type": "etp.question", **QUESTION, "action": "count", "arguments": [NAMESPACE, ["r"]]},
    {"type": "etp.question", **QUESTION, "action": "join", "arguments": [NAMESPACE, "ID", "r"]},
    {"type": "etp.question", **QUESTION, "action": "join", "arguments": [NAMESPACE, "ID", [7]]},
    {"type": "etp.question", **QUESTION, "action": "disconnect", "arguments": [NAMESPACE, "ID", 7, 7]},
    {"type": "etp.question", **QUESTION, "action": "shutdown", "arguments": [NAMESPACE, 1006, ""]},
    {"type": "etp.question", **QUESTION, "action": "ask_one", "arguments": [NAMESPACE, "ID", "||", "", 1]},
    {"type": "etp.question", **QUESTION, "action": "ask_one", "arguments": [NAMESPACE, "ID", "ask", "", "soon"]},
    {"type": "etp.question", **QUESTION, "wants_sign": 1},
    {"type": "etp.heard", "id": "q", "hub": "h", "known": "all"},
    {"type": "etp.heard", "id": "q"},
    {"type": "etp.answer", "id": "q", "hub": "h", "known": "all"},
    {"type": "etp.answer", "id": 7, "hub": "h", "known": []},
    {"type": "etp.echo", "hub": "h", "number": "one"},
]


async def test_malformed_messages_on_the_layer_do_no_harm_and_are_logged_once(cluster, layer, here, there, room):
    hubs = [member.id.partition(".")[0] for member in (here, there)]
    room_groups = [rooms.of(NAMESPACE).group_name(room), *(f"etp.hub.{hub}" for hub in hubs)]
    hub_groups = ["etp.control", *(f"etp.ask.{hub}" for hub in hubs)]
    for groups, messages in ((room_groups, TO_ROOMS), (hub_groups, TO_HUBS)):
        for message in messages * 2:
            for group in groups:
                await layer.group_send(group, _about(message, group=group, room=room, id=there.id))
        await here.call("call", "emit", room, "news")  # takes its turn behind them, and capacity is not endless
    for member in (here, there):
        await member.hear(("news", ""), ("news", ""))
        # A process whose heartbeat is late, as on a busy machine, may be missing from the first answer.
        await eventually(lambda member=member: member.call("call", "count", room), lambda count: count == 2)
        assert (await member.call("call", "get", there.id))["rooms"] == [room]
    for server in (cluster.here, cluster.there):
        complaints = re.findall(r"A message on the channel layer was ignored.*", server.log)
        assert len(complaints) > 20
        assert [text for text, times in Counter(complaints).items() if times > 1] == []
        assert "Traceback" not in server.log
        assert server.complaints == []


def _about(message: dict[str, Any], *, group: str, room: str, id: str) -> dict[str, Any]:
    """Return a message with the names of the test filled in."""
    names = {"g": group, "r": room, "ID": id}

    def fill(value: Any) -> Any:
        if isinstance(value, list):
            return [fill(item) for item in value]
        return names.get(value, value) if isinstance(value, str) else value

    return {key: fill(value) for key, value in message.items()}


@pytest.mark.parametrize(
    "result",
    [
        None,
        "rubbish",
        [[7]],
        {"a": 1},
        [["x"], [None], ["never"], [0], [[]]],
        [["x"], [None], [1e300], [0], [[]]],
        [["x"], [None], [0.0], [7], [[]]],
        [["x"], [None], [0.0], [0], [3]],
        [["x", "y"], [None], [0.0], [0], [[]]],
    ],
    ids=["none", "text", "list", "dict", "no-time", "late-time", "no-such-set", "no-set", "short-columns"],
)
@pytest.mark.parametrize(("name", "expected"), [("count", 2), ("members", ["here", "there"])])
async def test_an_answer_that_cannot_be_read_is_as_good_as_none(layer, here, there, room, name, expected, result):
    forger = "f" * 16
    channel = await layer.new_channel()
    await layer.group_add("etp.control", channel)
    beat = {**BEAT, "type": "etp.beat", "hub": forger, "channel": channel, "control_channel": channel}

    async def answer_all() -> None:
        while True:
            message = await layer.receive(channel)
            if message["type"] == "etp.question":
                answer = {"type": "etp.answer", "id": message["id"], "hub": forger, "known": [], "result": result}
                await layer.group_send(message["answer_to"], answer)

    async def ask() -> Any:
        return await here.call("call", name, room)

    answering = asyncio.create_task(answer_all())
    try:
        await layer.group_send("etp.control", {**beat, "is_serving": True})
        outcome = await eventually(ask, lambda outcome: isinstance(outcome, dict))
        names = {here.id: "here", there.id: "there"}
        answer = outcome["answer"] if name == "count" else sorted(names[info["id"]] for info in outcome["answer"])
        assert (outcome["error"], answer) == ("IncompleteAnswer", expected)
    finally:
        answering.cancel()
        await layer.group_discard("etp.control", channel)
        await layer.group_send("etp.control", {**beat, "is_last": True})
    await eventually(ask, lambda outcome: not isinstance(outcome, dict))


async def test_bytes_that_no_serializer_wrote_do_no_harm(cluster, here, there, room):
    group = rooms.of(NAMESPACE).group_name(room)
    for garbage in (b"", b"\xff\xfe\xfd", b"x" * 100):
        if cluster.kind == "pubsub":
            cluster.valkey.command("PUBLISH", f"asgi__group__{group}", garbage)
        else:
            for channel in cluster.valkey.command("ZRANGE", f"asgi:group:{group}", "0", "-1"):
                cluster.valkey.command("ZADD", b"asgi" + channel.partition(b"!")[0] + b"!", "1", garbage)
    await here.call("call", "emit", room, "news")
    for member in (here, there):
        await member.hear(("news", ""))
        assert await member.call("call", "count", room) == 2


async def test_numbers_that_nobody_sent_lose_no_message(cluster, layer, here, there, room):
    """A stream that begins with a number without measure is reported as lost, and that is all."""
    group = rooms.of(NAMESPACE).group_name(room)
    message = {**ROOM, "group": group, "born": time.time() + 60, "number": 2**62, "frames_before": 2**62}
    await layer.group_send(group, {"type": "etp.room", **message})
    for member in (here, there):
        await member.hear(("news", ""))
    await here.call("call", "emit", room, "more")
    for member in (here, there):
        await member.hear(("more", ""))
