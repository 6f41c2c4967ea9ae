"""Joins of rooms with presence, over the wire."""

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from django_etp import Connection, Event, EventFailed, etp_room, rooms
from django_etp.events import attendance
from tests.support.declared import guest, join_frame, refused
from tests.support.hooks import both
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture(autouse=True)
def grace(settings: Any) -> None:
    settings.ETP = {"PRESENCE_GRACE": 0.3}


def declare(presence: Any = True, **options: Any) -> Any:
    @etp_room("orders/<int:pk>", presence=presence, **options)
    async def order_room(connection: Connection, pk: int) -> dict[str, int]:
        return {"pk": pk}

    return order_room


def user(pk: int) -> Any:
    return SimpleNamespace(pk=pk, is_authenticated=True)


async def test_the_answer_holds_all_entries_with_the_newcomers_own() -> None:
    declare()
    async with guest(user=user(7)) as client:
        room = await client.join("orders/5")
        assert room.state == {"pk": 5}
        assert list(room.members) == ["7"]
        entry = room.members["7"]
        assert entry == {"key": "7", "info": {}, "since": entry["since"], "connections": 1}
        assert isinstance(entry["since"], float)
        async with guest() as visitor:
            theirs = await visitor.join("orders/5")
            [key] = set(theirs.members) - {"7"}
            assert await room.expect_presence() == {"joined": [theirs.members[key]], "changed": [], "left": []}
            await visitor.expect_nothing()


@both
async def test_a_function_returns_what_others_may_see(is_async: bool) -> None:
    def info(connection: Connection, pk: int) -> dict[str, Any]:
        return {"name": f"ü{connection.user.pk}", "pk": pk}

    async def ainfo(connection: Connection, pk: int) -> dict[str, Any]:
        return info(connection, pk)

    declare(ainfo if is_async else info)
    async with guest(user=user(7)) as client:
        assert (await client.join("orders/5")).members["7"]["info"] == {"name": "ü7", "pk": 5}


@pytest.mark.parametrize(
    "value", [None, [], "text", {"a": object()}, {"a": "\ud800"}, {"a": "x" * attendance.MOST_INFO}], ids=range(6)
)
async def test_what_is_no_small_json_object_fails_the_join(value: Any) -> None:
    declare(lambda connection, pk: value)
    told = errors()
    async with guest() as client:
        await refused(client, "orders/5", "handler_error")
        await until(lambda: told)
        assert await rooms.apresent("orders/5") == []
        assert await rooms.acount("orders/5") == 0


async def test_a_function_may_refuse_the_join() -> None:
    def refuse(connection: Connection, pk: int) -> dict[str, Any]:
        raise EventFailed("later", "Come back later.")

    declare(refuse)
    async with guest() as client:
        await refused(client, "orders/5", "later")


@pytest.mark.parametrize("presence", ["yes", 1, None, {}])
def test_another_value_of_presence_is_refused(presence: Any) -> None:
    with pytest.raises(TypeError, match=r"presence= .* takes True, False or a function"):
        declare(presence)


def test_a_function_that_does_not_take_the_parameters_is_refused() -> None:
    with pytest.raises(TypeError, match=r"is called with \(connection, pk\)"):
        declare(lambda connection: {})


async def test_a_leave_is_told_with_the_next_gathering_and_an_end_after_the_grace() -> None:
    declare()
    async with guest(user=user(7)) as client, guest(user=user(8)) as other:
        room, theirs = await client.join("orders/5"), await other.join("orders/5")
        await room.expect_presence()
        await theirs.leave()
        assert await room.expect_presence(timeout=0.28) == {"joined": [], "changed": [], "left": ["8"]}
        await other.join("orders/5")
        await room.expect_presence()
        await other.disconnect(1000)
        await client.expect_nothing(timeout=0.2)
        assert [each.key for each in await rooms.apresent("orders/5")] == ["7", "8"]
        assert await room.expect_presence() == {"joined": [], "changed": [], "left": ["8"]}
        assert [each.key for each in await rooms.apresent("orders/5")] == ["7"]


async def test_a_reload_shows_no_flicker() -> None:
    declare()
    async with guest(user=user(7)) as client:
        room = await client.join("orders/5")
        async with guest(user=user(8)) as other:
            before = await other.join("orders/5")
            await room.expect_presence()
        async with guest(user=user(8)) as other:
            after = await other.join("orders/5")
            assert after.members == before.members
            await client.expect_nothing(timeout=0.6)
            assert after.members["8"]["connections"] == 1


async def test_tabs_of_one_user_are_one_entry() -> None:
    declare()
    async with guest(user=user(7)) as client, guest(user=user(8)) as tab:
        room = await client.join("orders/5")
        await tab.join("orders/5")
        await room.expect_presence()
        async with guest(user=user(8)) as another:
            joined = await another.join("orders/5")
            assert joined.members["8"]["connections"] == 2
            change = await room.expect_presence()
            assert [entry["connections"] for entry in change["changed"]] == [2]
        change = await room.expect_presence()
        assert [entry["connections"] for entry in change["changed"]] == [1]
        assert change["left"] == []


async def test_who_was_taken_out_is_gone_at_once() -> None:
    room = declare()
    async with guest(user=user(7)) as client, guest(user=user(8)) as other:
        joined, theirs = await client.join("orders/5"), await other.join("orders/5")
        await joined.expect_presence()
        await rooms.aleave(room(pk=5), user=8)
        await theirs.expect_left("removed")
        assert (await joined.expect_presence(timeout=0.28))["left"] == ["8"]


async def test_members_that_the_server_puts_in_are_invisible_and_told_nothing() -> None:
    room = declare()
    async with guest(user=user(7)) as client, guest(user=user(8)) as other:
        joined = await client.join("orders/5")
        [id] = [each.id for each in await rooms.aconnections() if each.user_id == 8]
        await rooms.ajoin(id, room(pk=5))
        assert await rooms.acount(room(pk=5)) == 2
        await client.expect_nothing(timeout=0.3)
        assert [each.key for each in await rooms.apresent(room(pk=5))] == ["7"]
        async with guest(user=user(9)) as third:
            await third.join("orders/5")
            await joined.expect_presence()
        await other.expect_nothing()


async def test_changes_follow_the_answer_to_a_second_join() -> None:
    release = asyncio.Event()
    runs = 0

    @etp_room("orders/<int:pk>", presence=True)
    async def order_room(connection: Connection, pk: int) -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            await release.wait()

    wire = await Wire(subprotocols=["etp.ext.v2"], user=user(7)).open()
    await wire.text()
    wire.put(join_frame("orders/5", 1))
    assert '"members"' in await wire.text()
    wire.put(join_frame("orders/5", 2))
    await until(lambda: runs == 2)
    async with guest(user=user(9)) as third, guest(user=user(8)) as other:
        runs = 3
        room = await third.join("orders/5")
        await other.join("orders/5")
        while "8" not in room.members:
            await room.expect_presence()
        release.set()
        answer = await wire.text()
        assert answer.startswith("__ack___join||2")
        assert '"key":"8"' in answer
        told = ""
        while '"key":"8"' not in told:
            told = await wire.text()
            assert told.startswith("__in orders/5 __presence||0||")
        await wire.leave()


async def test_a_join_that_ends_while_the_function_runs_is_not_present() -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def info(connection: Connection, pk: int) -> dict[str, Any]:
        begun.set()
        await release.wait()
        return {}

    room = declare(info)
    async with guest(user=user(7)) as client:
        joining = asyncio.create_task(client.join("orders/5"))
        await begun.wait()
        await rooms.aleave(room(pk=5), user=7)
        release.set()
        with pytest.raises(EventFailed) as caught:
            await joining
        assert caught.value.code == "removed"
        assert await rooms.apresent(room(pk=5)) == []


async def test_handlers_inside_the_room_see_who_is_there() -> None:
    room = declare(lambda connection, pk: {"name": "Ana"})

    @room.event("who")
    async def who(connection: Connection, event: Event, pk: int) -> list[Any]:
        return [[each.key, each.info, each.connections] for each in await rooms.apresent(room(pk=pk))]

    async with guest(user=user(7)) as client:
        joined = await client.join("orders/5")
        assert (await joined.emit_with_ack("who")).json() == [["7", {"name": "Ana"}, 1]]


async def test_a_user_who_loses_the_right_is_gone_at_once() -> None:
    allowed = {"8": True}
    room = declare()
    room.allow(lambda user, pk: allowed.get(str(user.pk), True))
    async with guest(user=user(7)) as client, guest(user=user(8)) as other:
        joined, theirs = await client.join("orders/5"), await other.join("orders/5")
        await joined.expect_presence()
        allowed["8"] = False
        await rooms.arecheck(room=room(pk=5))
        await theirs.expect_left("permission_denied")
        assert (await joined.expect_presence())["left"] == ["8"]


def test_without_a_room_with_presence_nothing_of_it_is_imported() -> None:
    code = """
import asyncio, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
import django; django.setup()
from django_etp import etp_room, rooms
from tests.support.declared import guest

@etp_room("orders/<int:pk>")
async def order_room(connection, pk):
    return 1

async def main():
    async with guest(scope={"user": None, "session": {}}, application=__import__("django_etp.consumers").consumers.EtpConsumer.as_asgi()) as client:
        await client.join("orders/5")
        assert await rooms.apresent("orders/5") == []

asyncio.run(main())
assert not [name for name in sys.modules if name.startswith("django_etp.presence")]
"""  # noqa: E501
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.django_db(transaction=True)
async def test_events_of_the_room_follow_an_answer_that_waits_for_data_to_be_saved() -> None:
    from django.contrib.sessions.backends.db import SessionStore

    def visible(connection: Connection, pk: int) -> dict[str, Any]:
        connection.data["seen"] = pk
        rooms.emit("orders/5", "changed")
        return {}

    declare(visible)
    session = SessionStore()
    await session.acreate()
    async with guest(session=session) as client:
        await client.send_frame(join_frame("orders/5", 1))
        assert (await client.receive_frame()).startswith("__ack___join||1||")
        assert await client.receive_frame() == "__in orders/5 changed||0"
        assert (await SessionStore(session.session_key).aget("etp")) != {}
