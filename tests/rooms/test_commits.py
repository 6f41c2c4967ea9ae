"""Emits bound to the transaction: what a commit sends, and what a rollback drops."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.transaction import TransactionManagementError, atomic

from django_etp import (
    Connection,
    InvalidEventName,
    InvalidPayload,
    InvalidRoomName,
    SyncCallInEventLoop,
    etp_room,
    rooms,
)
from tests.support.declared import guest, join_frame
from tests.support.rooms import RoomClient, clients
from tests.support.transactions import in_thread

pytestmark = [pytest.mark.usefixtures("etp_registry"), pytest.mark.django_db(transaction=True)]


class Undo(Exception):
    """Raised to roll back."""


@contextmanager
def undone(**options: Any) -> Iterator[None]:
    """A block whose changes are rolled back."""
    try:
        with atomic(**options):
            yield
            raise Undo
    except Undo:
        pass


def emit(event: str, *, room: Any = "lobby", **options: Any) -> None:
    rooms.emit_on_commit(room, event, **options)


async def heard(client: RoomClient) -> list[str]:
    """Return the names of the events that came, each followed by its data."""
    await rooms.aemit_to(client.id, "end")
    result = []
    while (event := await client.expect_event()).name != "end":
        result.append(event.name + event.data)
    return result


async def sent_by(function: Callable[[], Any], *rooms_of_client: str) -> list[str]:
    """Return what a client of the rooms hears of a function that runs in a thread."""
    async with clients(" ".join(rooms_of_client or ["lobby"])) as (client,):
        await in_thread(function)
        return await heard(client)


async def test_events_are_sent_after_the_commit_in_order():
    reached = asyncio.Event()
    loop = asyncio.get_running_loop()
    go_on = asyncio.Event()

    def work() -> None:
        with atomic():
            emit("first")
            with atomic():
                emit("second", data={"id": 7})
            loop.call_soon_threadsafe(reached.set)
            asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
            emit("third", data="text")

    async with clients("lobby") as (client,):
        working = asyncio.create_task(in_thread(work))
        await reached.wait()
        assert await heard(client) == []
        go_on.set()
        await working
        assert await heard(client) == ["first", 'second{"id":7}', "thirdtext"]


async def test_outside_a_transaction_an_event_is_sent_at_once():
    def work() -> None:
        emit("first")
        rooms.emit("lobby", "second")
        emit("third")

    assert await sent_by(work) == ["first", "second", "third"]


async def test_a_rollback_drops_the_events():
    def work() -> None:
        with undone():
            emit("dropped")
            with atomic():
                emit("dropped, too")
        with atomic():
            emit("sent")

    assert await sent_by(work) == ["sent"]


async def test_a_rollback_to_a_savepoint_drops_what_came_after_it():
    def work() -> None:
        with atomic():
            emit("1")
            with undone():
                emit("dropped")
                with atomic():
                    emit("dropped, too")
            emit("2")
            with atomic():
                emit("3")
                with undone():
                    emit("dropped")
            emit("4")
            with undone():
                emit("dropped at the end")

    assert await sent_by(work) == ["1", "2", "3", "4"]


async def test_a_savepoint_of_the_low_level_functions_counts_as_well():
    savepoint_create = getattr(transaction, "savepoint_create", transaction.savepoint)  # new in Django 6.1

    def work() -> None:
        with atomic():
            emit("1")
            savepoint = savepoint_create()
            emit("dropped")
            with atomic():
                emit("dropped, too")
            transaction.savepoint_rollback(savepoint)
            emit("2")
            savepoint = savepoint_create()
            emit("3")
            transaction.savepoint_commit(savepoint)

    assert await sent_by(work) == ["1", "2", "3"]


async def test_a_failed_block_without_a_savepoint_takes_the_transaction_along():
    def work() -> None:
        with atomic():
            emit("dropped")
            with undone(savepoint=False):
                emit("dropped, too")

    assert await sent_by(work) == []


async def test_the_last_event_with_a_key_wins_in_its_own_place():
    def work() -> None:
        with atomic():
            for number in range(500):
                emit("changed", data=number, key=5)
            emit("other")
            emit("changed", data="last", key=5)
            emit("changed", data="of another key", key=6)
            emit("renamed", data="another event", key=5)
            emit("changed", data="no key")

    assert await sent_by(work) == [
        "other",
        "changedlast",
        "changedof another key",
        "renamedanother event",
        "changedno key",
    ]


async def test_a_key_counts_for_the_same_rooms():
    def work() -> None:
        with atomic():
            emit("changed", room=["a", "b"], data="replaced", key="5")
            emit("changed", room="a", data="one room", key="5")
            emit("changed", room=("b", "a", "a"), data="last", key=5)

    assert await sent_by(work, "a", "b") == ["changedone room", "changedlast"]


async def test_a_key_holds_across_savepoints():
    def work() -> None:
        with atomic():
            emit("changed", data=1, key=5)
            with atomic():
                emit("changed", data=2, key=5)
            emit("other")
            with atomic():
                emit("changed", data=3, key=5)

    assert await sent_by(work) == ["other", "changed3"]


async def test_a_rollback_gives_back_what_was_replaced_in_the_savepoint():
    def work() -> None:
        with atomic():
            emit("changed", data=1, key=5)
            emit("other")
            with undone():
                emit("changed", data=2, key=5)
                emit("changed", data=3, key=5)

    assert await sent_by(work) == ["changed1", "other"]


async def test_each_database_has_its_own_transaction(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(connections.settings, "other", dict(connections.settings["default"], NAME=":memory:"))

    def work() -> None:
        connections["other"].connect()  # the test must not use it, as far as Django knows
        with atomic():
            with undone(using="other"):
                emit("dropped", using="other")
            with atomic(using="other"):
                emit("default")
                emit("other", using="other")
            emit("at once", using="other")

    assert await sent_by(work) == ["other", "at once", "default"]


async def test_callbacks_of_others_keep_their_places():
    def work() -> None:
        with atomic():
            emit("first")
            transaction.on_commit(lambda: rooms.emit("lobby", "of a callback"))
        with atomic():
            transaction.on_commit(lambda: emit("at once"))
            emit("last")

    assert await sent_by(work) == ["first", "of a callback", "at once", "last"]


@pytest.mark.parametrize("before", [0, 1, 2])
async def test_a_callback_of_others_that_raises_stops_no_event(before: int):
    def fail() -> None:
        raise Undo

    @atomic
    def change() -> None:
        for number in range(3):
            if number == before:
                with undone():
                    emit("dropped")
                transaction.on_commit(fail)
                with undone():
                    emit("dropped")
            with atomic():
                emit(str(number))

    def work() -> None:
        with pytest.raises(Undo):
            change()
        emit("later")

    assert await sent_by(work) == ["0", "1", "2", "later"]


async def test_autocommit_that_is_off_is_refused():
    def work() -> None:
        transaction.set_autocommit(False)
        try:
            with pytest.raises(TransactionManagementError):
                emit("never")
        finally:
            transaction.set_autocommit(True)

    assert await sent_by(work) == []


async def test_members_of_another_namespace_are_reached():
    async with clients("lobby", namespace="game") as (client,):

        def work() -> None:
            with atomic():
                rooms.of("game").emit_on_commit("lobby", "news")
                emit("elsewhere")

        await in_thread(work)
        assert await heard_in(client, "game") == ["news"]


async def heard_in(client: RoomClient, namespace: str) -> list[str]:
    await rooms.of(namespace).aemit_to(client.id, "end")
    result = []
    while (event := await client.expect_event()).name != "end":
        result.append(event.name)
    return result


async def test_excluded_connections_get_nothing():
    async with clients("lobby", "lobby") as (left_out, other):

        def work() -> None:
            with atomic():
                emit("news", exclude=[left_out.id])

        await in_thread(work)
        assert [await heard(left_out), await heard(other)] == [[], ["news"]]


async def test_the_data_is_that_of_the_call():
    def work() -> None:
        data = {"status": "new"}
        with atomic():
            emit("changed", data=data)
            data["status"] = "paid"

    assert await sent_by(work) == ['changed{"status":"new"}']


@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("lobby", "__reserved"), InvalidEventName),
        (("lobby", "news", object()), InvalidPayload),
        ((7, "news"), InvalidRoomName),
        (("__user.1", "news"), InvalidRoomName),
    ],
)
async def test_wrong_arguments_are_refused_at_the_call(arguments: Any, error: type[Exception], plain: bool):
    def work() -> None:
        with atomic(), pytest.raises(error):
            rooms.emit_on_commit(*arguments)

    if plain:
        await in_thread(work)
    else:
        with pytest.raises(error):
            await rooms.aemit_on_commit(*arguments)


@pytest.mark.parametrize("names", [(), [], iter([])])
async def test_an_event_for_no_rooms_is_no_error(names: Any):
    def work() -> None:
        with atomic():
            emit("news", room=names)

    assert await sent_by(work) == []


async def test_async_code_sends_at_once():
    async with clients("lobby") as (client,):
        await rooms.aemit_on_commit("lobby", "news", {"id": 7}, key=5, using="default")
        assert await heard(client) == ['news{"id":7}']


async def test_the_plain_call_on_an_event_loop_is_refused():
    with pytest.raises(SyncCallInEventLoop, match="await aemit_on_commit"):
        rooms.emit_on_commit("lobby", "news")


async def test_durable_events_are_sent_after_the_commit_too():
    def work() -> None:
        with atomic():
            emit("news", durable=True)
            emit("again", durable=True, key=1)
            emit("again", durable=True, key=1, data="last")
        with undone():
            emit("undone", durable=True)

    assert await sent_by(work) == ["news", "againlast"]
    async with clients("lobby") as (member,):
        await rooms.aemit_on_commit("lobby", "alone", durable=True)
        assert await heard(member) == ["alone"]


async def test_a_long_batch_arrives_whole_and_before_what_comes_after_it():
    def work() -> None:
        with atomic():
            for number in range(1200):
                emit("news", data=number)
        with atomic():
            emit("next")
        rooms.emit("lobby", "last")

    async with clients("lobby", "lobby", "lobby") as members:
        await in_thread(work)
        for member in members:
            assert await heard(member) == [*(f"news{number}" for number in range(1200)), "next", "last"]


async def test_each_savepoint_may_have_its_events():
    def work() -> None:
        with atomic():
            for number in range(300):
                with atomic():
                    emit("changed", data=number, key=number % 2)

    assert await sent_by(work) == ["changed298", "changed299"]


def test_a_callback_of_the_commit_does_not_raise(settings: Any):
    """Not even if the layer cannot be made."""
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "no.such.Layer"}}
    later: list[str] = []
    with atomic():
        emit("news")
        transaction.on_commit(lambda: later.append("called"))
    assert later == ["called"]


async def test_clients_that_joined_a_declared_room_get_the_events_inside_it_until_they_leave():
    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None: ...

    def work() -> None:
        with atomic():
            emit("changed", room=order_room(pk=5), data=1)
            emit("sold", room=["lobby", order_room(pk=5), order_room(pk=6)])

    async with clients("orders/5") as (plain,), guest() as client:
        room = await client.join("orders/5")
        await in_thread(work)
        assert await client.receive_frame() == "__in orders/5 changed||0||1"
        assert await client.receive_frame() == "__in orders/5 sold||0"
        await rooms.aclear("orders/5")
        await room.expect_left("removed")
        await plain.connection.ajoin("orders/5")
        await in_thread(work)
        assert await heard(plain) == ["changed1", "sold", "changed1", "sold"]
        await client.expect_nothing(timeout=0.01)


async def test_events_bound_to_a_commit_are_held_while_a_client_joins():
    answer = asyncio.Event()

    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None:
        await in_thread(work)
        await answer.wait()

    def work() -> None:
        with atomic():
            emit("changed", room="orders/5")
            emit("sold", room=["orders/5", "lobby"])

    async with clients("lobby") as (other,), guest() as client:
        await client.send_frame(join_frame("orders/5", 1))
        await other.expect_event("sold")
        await client.expect_nothing(timeout=0.01)
        answer.set()
        frames = [await client.receive_frame() for _ in range(3)]
        assert frames == ['__ack___join||1||{"state":null}', "__in orders/5 changed||0", "__in orders/5 sold||0"]
