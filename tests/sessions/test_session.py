"""`connection.data` and `connection.session` of one connection, from the handshake to the end."""

import asyncio
import copy
import os
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import login, logout
from channels.sessions import SessionMiddlewareStack
from django.contrib.auth import BACKEND_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.db import connection as database
from django.test.utils import isolate_apps
from django.utils import timezone

from django_etp import (
    AckTimeout,
    Connection,
    DataTooLarge,
    Event,
    InvalidFrame,
    RejectConnection,
    etp_event,
    on_connect,
    on_disconnect,
    on_error,
    on_unknown_event,
    rooms,
)
from django_etp.auth import receivers
from django_etp.auth.revocation import check_connections
from django_etp.consumers import EtpConsumer
from django_etp.hub.process import process_hub
from django_etp.server import maintenance
from django_etp.sessions import session as session_module
from django_etp.testing import EtpCommunicator, HandshakeRejected
from tests.support.inprocess import WAIT, errors, recorded, until
from tests.support.stored import (
    WITH_LOCK,
    WITHOUT_LOCK,
    acontent_of,
    amake_session,
    apatch,
    cookie,
    store_class,
    use_engine,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("etp_registry", "etp_communicator"),
]

both = pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])


def handler(name: str, is_async: bool, function: Callable[..., Any]) -> None:
    """Register a function as an event handler, as an `async def` or as a plain `def`."""
    hook(etp_event(name), is_async, function)


def hook(register: Callable[..., Any], is_async: bool, function: Callable[..., Any]) -> None:
    """Register a function as a hook, as an `async def` or as a plain `def`."""

    async def coroutine_function(*args: Any) -> Any:
        return function(*args)

    def plain_function(*args: Any) -> Any:
        return function(*args)

    register(coroutine_function if is_async else plain_function)


def tell_ids() -> list[str]:
    """Return a list that will hold the ids of the connections."""
    ids: list[str] = []

    @on_connect
    async def tell(connection: Connection) -> None:
        ids.append(connection.id)

    return ids


async def data_of(key: str | None, connection_id: str) -> Any:
    """Return the data of a connection in the stored session."""
    content = await acontent_of(key) or {}
    return content.get("etp", {}).get(connection_id)


async def auntil(look: Callable[[], Any], expected: object, *, timeout: float = WAIT) -> None:
    """Return once a coroutine function finds what is expected; fail after `timeout` seconds."""
    async with asyncio.timeout(timeout):
        while True:
            if await look() == expected:
                return
            await asyncio.sleep(0.01)


def all_members() -> list[Any]:
    """Return the connections of this process."""
    hub = process_hub()
    assert hub is not None
    return list(hub.membership.all())


class Writes:
    """Counts the statements that change a row; while `fail` is set they fail."""

    def __init__(self) -> None:
        self.count = 0
        self.fail = False

    def __call__(self, execute: Any, sql: str, *args: Any) -> Any:
        if self.fail and sql.startswith("UPDATE"):
            raise OSError("the database is away")
        # The first of the two updates takes the lock.
        self.count += sql.startswith("UPDATE") and "expire_date" not in sql.partition("WHERE")[0]
        return execute(sql, *args)


@pytest.fixture
def writes() -> Any:
    with database.execute_wrapper(counter := Writes()):
        yield counter


def put(connection: Connection, event: Event | None = None) -> None:
    connection.data["name"] = event.data if event else "Ann"


# Where it is kept


@both
@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
async def test_data_of_a_handler_is_in_the_session_before_its_answer(
    is_async: bool, engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    ids = tell_ids()
    handler("put", is_async, put)
    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        assert await acontent_of(key) == {"cart": [1], "etp": {ids[0]: {"name": "Ann"}}}
    assert await acontent_of(key) == {"cart": [1]}


@both
async def test_data_of_on_connect_is_in_the_session_at_the_accept(is_async: bool) -> None:
    ids = tell_ids()
    hook(on_connect, is_async, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)):
        assert await data_of(key, ids[0]) == {"name": "Ann"}


async def test_data_that_on_connect_changes_after_an_early_accept_is_written() -> None:
    ids = tell_ids()

    @on_connect
    async def greet(connection: Connection) -> None:
        connection.data["seats"] = seats = []
        await connection.aemit("welcome")
        seats.append(1)

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)), asyncio.timeout(WAIT):
        while True:  # without an event, whose own write would take this along
            if await data_of(key, ids[0]) == {"seats": [1]}:
                break
            await asyncio.sleep(0.01)


@both
async def test_data_that_on_unknown_event_changes_is_written(is_async: bool) -> None:
    ids = tell_ids()
    hook(on_unknown_event, is_async, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("whatever", "Ann")
        assert await data_of(key, ids[0]) == {"name": "Ann"}


@both
async def test_data_that_on_error_changes_is_written(is_async: bool) -> None:
    ids = tell_ids()
    hook(on_error, is_async, lambda connection, error: put(connection))
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.send_frame("no frame")
        await auntil(lambda: data_of(key, ids[0]), {"name": "Ann"})


@both
async def test_data_is_written_though_the_handler_raised(is_async: bool) -> None:
    ids, told = tell_ids(), errors()

    def put_and_fail(connection: Connection, event: Event) -> None:
        put(connection, event)
        raise ZeroDivisionError

    handler("fail", is_async, put_and_fail)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit("fail", "Ann")
        await until(lambda: told)
        await auntil(lambda: data_of(key, ids[0]), {"name": "Ann"})


async def test_a_change_inside_a_nested_value_is_written() -> None:
    ids = tell_ids()

    @etp_event("add")
    async def add(connection: Connection, event: Event) -> None:
        connection.data.setdefault("names", []).append(event.data)

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        for name in ("Ann", "Bob"):
            await client.emit_with_ack("add", name)
        assert await data_of(key, ids[0]) == {"names": ["Ann", "Bob"]}


async def test_a_nested_change_through_what_a_slow_handler_held_is_written() -> None:
    ids, inside, door = tell_ids(), asyncio.Event(), asyncio.Event()

    @on_connect
    async def begin(connection: Connection) -> None:
        connection.data["names"] = []

    @etp_event("slow")
    async def slow(connection: Connection, event: Event) -> None:
        names = connection.data["names"]
        inside.set()
        await door.wait()
        names.append("Ann")

    @etp_event("quick")
    async def quick(connection: Connection, event: Event) -> None:
        connection.data["quick"] = True

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        answer = asyncio.create_task(client.emit_with_ack("slow"))
        await inside.wait()
        await client.emit_with_ack("quick")
        door.set()
        await answer
        assert await data_of(key, ids[0]) == {"names": ["Ann"], "quick": True}


async def test_a_handler_that_writes_many_keys_writes_the_session_once(writes: Writes) -> None:
    @etp_event("many")
    async def many(connection: Connection, event: Event) -> None:
        for number in range(20):
            connection.data[str(number)] = number

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        writes.count = 0
        await client.emit_with_ack("many")
        assert writes.count == 1


@both
async def test_a_handler_that_only_reads_data_writes_nothing(is_async: bool, writes: Writes) -> None:
    handler("put", is_async, put)
    handler("get", is_async, lambda connection, event: connection.data["name"])
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        writes.count = 0
        assert (await client.emit_with_ack("get")).data == "Ann"
        assert writes.count == 0


async def test_no_thread_is_entered_where_nothing_was_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    handler("put", True, put)
    handler("nothing", True, lambda connection, event: None)
    key = await amake_session()
    hops = 0
    loop = asyncio.get_running_loop()
    run_in_executor = loop.run_in_executor

    def count(*args: Any) -> Any:
        nonlocal hops
        hops += 1
        return run_in_executor(*args)

    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        monkeypatch.setattr(loop, "run_in_executor", count)
        for _ in range(10):
            await client.emit_with_ack("nothing")
        assert hops == 0
        await client.emit_with_ack("put", "Bob")
        assert hops == 1


async def test_clearing_the_data_takes_it_out_of_the_session() -> None:
    handler("put", True, put)
    handler("clear", True, lambda connection, event: connection.data.clear())
    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        await client.emit_with_ack("clear")
        assert await acontent_of(key) == {"cart": [1]}


async def test_data_may_be_assigned() -> None:
    ids = tell_ids()

    @etp_event("assign")
    async def assign(connection: Connection, event: Event) -> None:
        connection.data = {"name": "Ann"}
        connection.data |= {"row": 1}

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("assign")
        assert await data_of(key, ids[0]) == {"name": "Ann", "row": 1}


async def test_a_value_that_is_no_json_is_the_handlers_error_and_names_the_key() -> None:
    told = errors()

    @etp_event("set")
    async def set_it(connection: Connection, event: Event) -> None:
        connection.data["seat"] = object()

    async with EtpCommunicator() as client:
        await client.emit("set")
        await until(lambda: told)
    assert isinstance(told[0], TypeError)
    assert "connection.data['seat']" in str(told[0])
    assert len(told) == 1


async def test_a_nested_value_that_became_no_json_is_told_once_and_can_be_mended() -> None:
    told, ids = errors(), tell_ids()

    @etp_event("spoil")
    async def spoil(connection: Connection, event: Event) -> None:
        connection.data.setdefault("seats", []).append(object())

    @etp_event("mend")
    async def mend(connection: Connection, event: Event) -> None:
        connection.data["seats"] = [1]

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit("spoil")
        await until(lambda: told)
        await client.emit_with_ack("mend")
        assert await data_of(key, ids[0]) == {"seats": [1]}
    assert [type(error) for error in told] == [TypeError]


@pytest.mark.parametrize("old", [{}, {"seats": [1]}], ids=["new-key", "old-key"])
async def test_a_nested_value_that_became_no_json_fails_its_own_event_alone(old: dict[str, Any]) -> None:
    told, ids = errors(), tell_ids()

    @on_connect
    async def begin(connection: Connection) -> None:
        connection.data.update(copy.deepcopy(old))

    @etp_event("spoil")
    async def spoil(connection: Connection, event: Event) -> None:
        connection.data["name"] = "Ann"
        connection.data.setdefault("seats", []).append(object())

    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> dict[str, Any]:
        return dict(connection.data)

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit("spoil")
        await until(lambda: told)
        assert (await client.emit_with_ack("hello")).json() == {**old, "name": "Ann"}
        assert await data_of(key, ids[0]) == {**old, "name": "Ann"}
    assert [type(error) for error in told] == [TypeError]
    assert "connection.data['seats']" in str(told[0])


# Removed at the end


@pytest.mark.parametrize("is_first", [False, True], ids=["again", "first"])
async def test_data_that_a_handler_changes_in_its_grace_is_not_written(is_first: bool) -> None:
    inside, door = asyncio.Event(), asyncio.Event()

    @on_connect
    async def begin(connection: Connection) -> None:
        if not is_first:
            connection.data["name"] = "Ann"

    @etp_event("slow")
    async def slow(connection: Connection, event: Event) -> None:
        inside.set()
        await door.wait()
        connection.data["name"] = "Bob"

    key = await amake_session(cart=[1])
    client = EtpCommunicator(headers=cookie(key))
    await client.connect()
    await client.emit("slow")
    await inside.wait()
    leaving = asyncio.create_task(client.disconnect())
    await auntil(rooms.aconnections, [])
    await auntil(lambda: acontent_of(key), {"cart": [1]})
    door.set()
    await leaving
    assert await acontent_of(key) == {"cart": [1]}


async def test_on_disconnect_still_reads_the_data_and_writes_none() -> None:
    seen = []

    @on_connect
    async def begin(connection: Connection) -> None:
        connection.data["name"] = "Ann"

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        seen.append(connection.data["name"])
        connection.data["name"] = "Bob"

    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)):
        pass
    assert seen == ["Ann"]
    assert await acontent_of(key) == {"cart": [1]}


@both
async def test_data_that_on_disconnect_is_the_first_to_touch_is_not_written(is_async: bool) -> None:
    def gone(connection: Connection, disconnect: Any) -> None:
        connection.data["name"] = "Bob"
        seen.append(connection.data["name"])

    seen: list[str] = []
    hook(on_disconnect, is_async, gone)
    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)):
        pass
    assert seen == ["Bob"]
    assert await acontent_of(key) == {"cart": [1]}


async def test_data_of_a_refused_handshake_is_not_written() -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        connection.data["name"] = "Ann"
        raise RejectConnection

    key = await amake_session(cart=[1])
    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(headers=cookie(key)).connect()
    assert await acontent_of(key) == {"cart": [1]}


async def test_what_connections_of_this_process_left_behind_goes_when_another_one_comes() -> None:
    ids = tell_ids()
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)):
        pass
    hub_id = ids[0].partition(".")[0]
    await apatch(key, lambda session: session.update({"etp": {ids[0]: {"old": 1}, f"{hub_id}.x": {}, "dead.1": {}}}))
    async with EtpCommunicator(headers=cookie(key)):
        await auntil(lambda: acontent_of(key), {})


# Views, tasks and other code


async def test_other_code_reads_and_changes_the_data() -> None:
    ids = tell_ids()
    handler("put", True, put)
    handler("get", True, lambda connection, event: dict(connection.data))
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        assert await rooms.adata(ids[0]) == {"name": "Ann"}
        changed = await rooms.aupdate_data(ids[0], {"role": "host", "seats": [1]}, remove=["name", "never"])
        assert changed == {"role": "host", "seats": [1]}
        assert await data_of(key, ids[0]) == changed
        assert (await client.emit_with_ack("get")).json() == changed


async def test_what_other_code_gets_is_a_copy() -> None:
    ids = tell_ids()
    async with EtpCommunicator():
        (await rooms.aupdate_data(ids[0], {"seats": []}))["seats"].append(1)
        assert await rooms.adata(ids[0]) == {"seats": []}


async def test_data_of_a_connection_that_is_gone_is_an_error() -> None:
    ids = tell_ids()
    async with EtpCommunicator():
        pass
    with pytest.raises(Exception, match="is gone") as gone:
        await rooms.adata(ids[0])
    assert type(gone.value).__name__ == "ConnectionClosed"
    with pytest.raises(type(gone.value)):
        await rooms.aupdate_data(ids[0], {"name": "Ann"})


async def test_other_code_cannot_put_in_what_is_no_json() -> None:
    ids = tell_ids()
    async with EtpCommunicator():
        with pytest.raises(TypeError, match="'seat'"):
            await rooms.aupdate_data(ids[0], {"seat": object()})
        with pytest.raises(TypeError, match="remove="):
            await rooms.aupdate_data(ids[0], {}, remove="seat")


async def test_data_that_other_code_changes_before_the_accept_goes_with_the_accept() -> None:
    @on_connect
    async def begin(connection: Connection) -> None:
        await rooms.aupdate_data(connection.id, {"name": "Ann"})
        ids.append(connection.id)

    ids: list[str] = []
    client = EtpCommunicator()
    async with client:
        key = client.scope["session"].session_key if "session" in client.scope else None
        session = await Session.objects.aget()
        assert key in (None, session.session_key)
        assert await data_of(session.session_key, ids[0]) == {"name": "Ann"}


# Old copies that requests save


async def test_an_old_copy_that_a_request_saved_is_mended_by_the_next_write() -> None:
    ids = tell_ids()
    handler("put", True, put)
    key = await amake_session()
    old = await sync_to_async(store_class())(key)
    await sync_to_async(old.load)()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        await apatch(key, lambda session: session.clear())
        assert await data_of(key, ids[0]) is None
        await client.emit_with_ack("put", "Bob")
        assert await data_of(key, ids[0]) == {"name": "Bob"}


async def test_an_old_copy_that_a_request_saved_is_mended_without_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_LOOK_AFTER_EVERY", 0.1)
    ids = tell_ids()
    handler("put", True, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        for name in ("Ann", "Bob"):  # the second, too, is looked after
            await client.emit_with_ack("put", name)
            await apatch(key, lambda session: session.clear())
            await auntil(lambda: data_of(key, ids[0]), {"name": name})


def watch(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Return a list that will hold the arguments of each call of a function that a module has imported."""
    calls: list[Any] = []
    function = getattr(module, name)

    def call(*args: Any) -> Any:
        calls.append(args)
        return function(*args)

    monkeypatch.setattr(module, name, call)
    return calls


async def test_an_old_copy_is_mended_however_late_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_LOOK_AFTER_EVERY", 0.02)
    reads = watch(monkeypatch, maintenance, "read_shares")
    ids = tell_ids()
    handler("put", True, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        for late in (3, 6):
            await until(lambda late=late: len(reads) >= late)
            await apatch(key, lambda session: session.clear())
            await auntil(lambda: data_of(key, ids[0]), {"name": "Ann"})


async def test_what_is_as_it_was_written_is_not_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_LOOK_AFTER_EVERY", 0.02)
    reads = watch(monkeypatch, maintenance, "read_shares")
    handler("put", True, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        writes = watch(monkeypatch, session_module, "write_patch")
        await until(lambda: len(reads) > 3)
        assert writes == []


async def test_sessions_without_data_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_LOOK_AFTER_EVERY", 0.01)
    reads = watch(monkeypatch, maintenance, "read_shares")
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.expect_nothing(timeout=0.1)
    assert reads == []


async def test_the_data_is_looked_after_soon_enough() -> None:
    assert maintenance._LOOK_AFTER_EVERY <= 25


# A session that is gone


@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
async def test_data_of_an_anonymous_visitor_outlives_its_session_in_memory(
    engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    handler("put", True, put)
    handler("get", True, lambda connection, event: connection.data["name"])
    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        await apatch(key, lambda session: session.flush())
        for name in ("Bob", "Cid"):
            await client.emit_with_ack("put", name)
        assert (await client.emit_with_ack("get")).data == "Cid"
        assert await acontent_of(key) is None
    assert await acontent_of(key) is None


@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
async def test_a_users_connection_whose_session_is_gone_closes_at_its_next_write(
    engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    handler("put", True, put)
    user = await User.objects.acreate(username="ann")
    key = await amake_session(user)
    async with EtpCommunicator(headers=cookie(key)) as client:
        await sync_to_async(store_class()(key).flush)()
        await client.emit("put", "Ann")
        await client.expect_close(4401)
    assert await acontent_of(key) is None


async def test_a_users_connection_may_outlive_its_session_where_the_settings_say_so(settings: Any) -> None:
    settings.ETP = {"CLOSE_ON_LOGOUT": False}
    handler("put", True, put)
    key = await amake_session(await User.objects.acreate(username="ann"))
    async with EtpCommunicator(headers=cookie(key)) as client:
        await sync_to_async(store_class()(key).flush)()
        await client.emit_with_ack("put", "Ann")
    assert await acontent_of(key) is None


async def test_a_user_who_is_switched_off_goes_also_where_a_logout_closes_nothing(settings: Any) -> None:
    settings.ETP = {"CLOSE_ON_LOGOUT": False}
    user = await User.objects.acreate(username="ann")
    async with EtpCommunicator(headers=cookie(await amake_session(user))) as client:
        user.is_active = False
        await user.asave()
        await client.expect_close(4401)


async def test_an_inactive_user_whom_the_backend_lets_in_stays(settings: Any) -> None:
    backend = "django.contrib.auth.backends.AllowAllUsersModelBackend"
    settings.AUTHENTICATION_BACKENDS = [backend]
    handler("get", True, lambda connection, event: connection.user.get_username())
    user = await User.objects.acreate(username="ann", is_active=False)
    key = await amake_session(user)
    await apatch(key, lambda session: session.update({BACKEND_SESSION_KEY: backend}))
    async with EtpCommunicator(headers=cookie(key)) as client:
        await check_connections(all_members())
        assert (await client.emit_with_ack("get")).data == "ann"
        await User.objects.all().adelete()
        await check_connections(all_members())
        await client.expect_close(4401)


async def test_a_handshake_whose_session_ends_during_it_is_refused() -> None:
    @on_connect
    async def end_it(connection: Connection) -> None:
        await sync_to_async(store_class()(connection.scope["session"].session_key).flush)()
        connection.data["name"] = "Ann"

    told = errors()
    key = await amake_session(await User.objects.acreate(username="ann"))
    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(headers=cookie(key)).connect()
    assert told == []


# A visitor without a session


@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
async def test_a_session_made_for_data_goes_with_the_last_connection_that_has_data_there(
    engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    hook(on_connect, True, put)
    connections: list[Connection] = []

    @on_connect
    async def keep(connection: Connection) -> None:
        connections.append(connection)

    async with EtpCommunicator() as first:
        key = connections[0].scope["session"].session_key
        assert key is not None
        async with EtpCommunicator(headers=cookie(key)) as second:
            await first.disconnect()
            content = await acontent_of(key)
            assert content is not None
            assert content["etp"] == {connections[1].id: {"name": "Ann"}}
            await second.disconnect()
            assert not await sync_to_async(store_class()().exists)(key)


@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
@pytest.mark.parametrize("whose", ["a request", "a handler", "on_disconnect"])
async def test_a_session_made_for_data_stays_where_something_else_was_put_in(
    whose: str, engine: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)
    hook(on_connect, True, put)
    keys: list[Any] = []

    @etp_event("key")
    async def tell(connection: Connection, event: Event) -> None:
        keys.append(connection.scope["session"].session_key)
        if whose == "a handler":
            assert connection.session is not None
            connection.session["cart"] = [1]

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        if whose == "on_disconnect":
            assert connection.session is not None
            connection.session["cart"] = [1]

    async with EtpCommunicator() as client:
        await client.emit_with_ack("key")
        if whose == "a request":
            await apatch(keys[0], lambda session: session.update({"cart": [1]}))
    content = await acontent_of(keys[0])
    assert content is not None
    assert content["cart"] == [1]
    assert "etp" not in content


async def test_a_session_that_somebody_else_made_stays_though_it_is_empty() -> None:
    hook(on_connect, True, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)):
        pass
    assert await acontent_of(key) == {}


async def test_the_end_of_a_connection_whose_session_is_gone_takes_no_lock(writes: Writes) -> None:
    handler("put", True, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        await sync_to_async(store_class()(key).flush)()
        writes.fail = True  # any UPDATE
        told = errors()
        await client.disconnect()
    assert told == []


async def test_no_session_is_made_where_nothing_is_written() -> None:
    async with EtpCommunicator():
        assert not await Session.objects.aexists()


async def test_no_session_is_made_after_the_accept() -> None:
    handler("put", True, put)
    handler("get", True, lambda connection, event: connection.data["name"])
    async with EtpCommunicator() as client:
        await client.emit_with_ack("put", "Ann")
        assert (await client.emit_with_ack("get")).data == "Ann"
        assert not await Session.objects.aexists()


async def test_no_session_is_made_where_the_server_sends_no_headers() -> None:
    hook(on_connect, True, put)
    handler("get", True, lambda connection, event: connection.data["name"])
    async with EtpCommunicator(scope={"asgi": {"version": "3.0"}}) as client:  # as daphne says it
        assert (await client.emit_with_ack("get")).data == "Ann"
        assert not await Session.objects.aexists()


async def test_a_cookie_without_a_session_is_as_good_as_none() -> None:
    hook(on_connect, True, put)
    async with EtpCommunicator(headers=cookie("a" * 32)):
        assert (await Session.objects.aget()).session_key != "a" * 32


async def test_data_works_without_any_session_middleware() -> None:
    @etp_event("put")
    async def put_and_tell(connection: Connection, event: Event) -> Any:
        connection.data["name"] = event.data
        return [connection.session, dict(connection.data)]

    async with EtpCommunicator(EtpConsumer.as_asgi()) as client:
        assert (await client.emit_with_ack("put", "Ann")).json() == [None, {"name": "Ann"}]


# connection.session


@both
async def test_a_key_of_the_session_that_a_handler_sets_is_written_alone(is_async: bool) -> None:
    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        pass

    def set_keys(connection: Connection, event: Event) -> None:
        session = connection.session
        assert session is not None
        session["theme"] = "dark"
        session["cart"]["a"] = 2
        del session["old"]

    handler("set", is_async, set_keys)
    key = await amake_session(cart={"a": 1}, old=1, seen=1)
    async with EtpCommunicator(headers=cookie(key)) as client:
        await apatch(key, lambda session: session.update({"seen": 2, "messages": ["hi"]}))
        await client.emit_with_ack("set")
        assert await acontent_of(key) == {"cart": {"a": 2}, "theme": "dark", "seen": 2, "messages": ["hi"]}


async def test_a_second_change_of_the_session_writes_only_what_changed_since() -> None:
    @etp_event("set")
    async def set_key(connection: Connection, event: Event) -> None:
        assert connection.session is not None
        connection.session[event.data] = event.data

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("set", "one")
        await apatch(key, lambda session: session.update({"one": "changed"}))
        await client.emit_with_ack("set", "two")
        assert await acontent_of(key) == {"one": "changed", "two": "two"}


@both
@pytest.mark.parametrize("seconds", [60, 3600])
@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
async def test_the_same_expiry_set_again_prolongs_the_session(
    engine: str, seconds: int, is_async: bool, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine(engine, settings, monkeypatch, tmp_path)

    def stay(connection: Connection, event: Event) -> None:
        assert connection.session is not None
        connection.session.set_expiry(seconds)

    def age(key: str) -> None:
        if engine == "cache":
            cache.touch(store_class().cache_key_prefix + key, 5)
        elif engine == "file":
            os.utime(tmp_path / f"sessionid{key}", (time.time() - 100,) * 2)
        else:
            Session.objects.update(expire_date=timezone.now() + timedelta(seconds=5))

    def left(key: str) -> float:
        if engine == "cache":
            return cache._expire_info[cache.make_key(store_class().cache_key_prefix + key)] - time.time()
        if engine == "file":
            return (tmp_path / f"sessionid{key}").stat().st_mtime - time.time() + seconds
        return (Session.objects.get().expire_date - timezone.now()).total_seconds()

    handler("stay", is_async, stay)
    handler("look", is_async, lambda connection, event: connection.session.get_expiry_age())
    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        for _ in range(3):
            await sync_to_async(age)(key)
            await client.emit_with_ack("stay")
            assert await sync_to_async(left)(key) == pytest.approx(seconds, abs=4)
        await sync_to_async(age)(key)
        assert (await client.emit_with_ack("look")).json() == seconds
        assert await sync_to_async(left)(key) < seconds - 4
    assert await acontent_of(key) == {"cart": [1], "_session_expiry": seconds}


async def test_a_session_that_was_only_read_is_not_written(writes: Writes) -> None:
    handler("get", True, lambda connection, event: connection.session["cart"])
    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        writes.count = 0
        assert (await client.emit_with_ack("get")).json() == [1]
        assert writes.count == 0


async def test_a_session_change_through_what_a_slow_handler_held_is_written() -> None:
    inside, door = asyncio.Event(), asyncio.Event()

    @etp_event("slow")
    async def slow(connection: Connection, event: Event) -> None:
        session = connection.session
        assert session is not None
        inside.set()
        await door.wait()
        session["slow"] = True

    @etp_event("quick")
    async def quick(connection: Connection, event: Event) -> None:
        assert connection.session is not None
        connection.session["quick"] = True

    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        answer = asyncio.create_task(client.emit_with_ack("slow"))
        await inside.wait()
        await client.emit_with_ack("quick")
        door.set()
        await answer
        assert await acontent_of(key) == {"quick": True, "slow": True}


def nested(depth: int) -> list[Any]:
    """Return a list in a list in a list, and so on."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


class Uncopyable:
    """Raises at a copy what a dict raises for a key that is not there."""

    def __deepcopy__(self, memo: Any) -> object:
        return {}["nothing"]


@pytest.mark.parametrize("old", [{}, {"bad": 1}], ids=["new-key", "old-key"])
@pytest.mark.parametrize(
    "make",
    [
        object,
        Uncopyable,
        lambda: {1, 2},
        lambda: {"a": 1}.keys(),
        lambda: (number for number in [1]),
        lambda: nested(5_000),
    ],
    ids=["object", "key-error", "set", "keys", "generator", "nested-too-deeply"],
)
async def test_what_the_session_cannot_hold_is_refused_and_does_not_stop_later_writes(
    make: Callable[[], object], old: dict[str, Any]
) -> None:
    told = errors()

    @etp_event("spoil")
    async def spoil(connection: Connection, event: Event) -> None:
        assert connection.session is not None
        connection.session["bad"] = make()

    @etp_event("set")
    async def set_key(connection: Connection, event: Event) -> None:
        assert connection.session is not None
        connection.session["good"] = 1

    key = await amake_session(**old)
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit("spoil")
        await until(lambda: told)
        await client.emit_with_ack("set")
        assert await acontent_of(key) == {**old, "good": 1}
    [error] = told
    assert isinstance(error, TypeError)
    assert "connection.session['bad']" in str(error)


@both
async def test_changes_of_the_session_at_the_end_are_written(is_async: bool) -> None:
    def say_goodbye(connection: Connection, disconnect: Any) -> None:
        assert connection.session is not None
        connection.session["left"] = disconnect.code

    hook(on_disconnect, is_async, say_goodbye)
    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)):
        pass
    assert await acontent_of(key) == {"cart": [1], "left": 1000}


async def test_changes_of_the_session_by_on_disconnect_are_written_though_it_fails_at_a_cancelled_call() -> None:
    told = errors()

    @on_disconnect
    async def say_goodbye(connection: Connection, disconnect: Any) -> None:
        assert connection.session is not None
        connection.session["left"] = disconnect.code
        sleeping = asyncio.create_task(asyncio.sleep(60))
        sleeping.cancel()
        await sleeping

    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)):
        pass
    assert [type(error) for error in told] == [asyncio.CancelledError]
    assert await acontent_of(key) == {"cart": [1], "left": 1000}


@both
async def test_changes_of_the_session_by_a_hook_that_refuses_are_written(is_async: bool) -> None:
    def refuse(connection: Connection) -> None:
        assert connection.session is not None
        connection.session["refused"] = 1
        raise RejectConnection

    hook(on_connect, is_async, refuse)
    key = await amake_session()
    with pytest.raises(HandshakeRejected):
        await EtpCommunicator(headers=cookie(key)).connect()
    assert await acontent_of(key) == {"refused": 1}


@both
async def test_a_session_without_the_auth_middleware_is_loaded_and_saved_the_same_way(is_async: bool) -> None:
    def set_key(connection: Connection, event: Event) -> None:
        assert connection.session is not None
        connection.session["theme"] = "dark"
        connection.data["name"] = "Ann"

    handler("set", is_async, set_key)
    key = await amake_session(cart=[1])
    application = SessionMiddlewareStack(EtpConsumer.as_asgi())
    async with EtpCommunicator(application, headers=cookie(key)) as client:
        await apatch(key, lambda session: session.update({"cart": [1, 2]}))
        await client.emit_with_ack("set")
        content = await acontent_of(key)
        assert content is not None
        assert content.pop("etp")
        assert content == {"cart": [1, 2], "theme": "dark"}


async def test_a_session_that_the_test_gives_is_the_connections() -> None:
    @etp_event("set")
    async def set_key(connection: Connection, event: Event) -> Any:
        assert connection.session is not None
        connection.session["theme"] = "dark"
        return connection.session["cart"]

    key = await amake_session(cart=[1])
    async with EtpCommunicator(session=SessionStore(key)) as client:
        assert (await client.emit_with_ack("set")).json() == [1]
        assert await acontent_of(key) == {"cart": [1], "theme": "dark"}


async def test_a_dict_that_the_test_gives_as_session_is_the_connections() -> None:
    @etp_event("set")
    async def set_key(connection: Connection, event: Event) -> Any:
        assert connection.session is not None
        connection.session["theme"] = "dark"
        connection.data["name"] = "Ann"
        return connection.session["cart"]

    session: dict[str, Any] = {"cart": [1]}
    async with EtpCommunicator(session=session) as client:
        assert (await client.emit_with_ack("set")).json() == [1]
    assert session == {"cart": [1], "theme": "dark"}


async def test_a_handler_that_flushes_the_session_ends_its_users_connection() -> None:
    @etp_event("flush")
    def flush(connection: Connection, event: Event) -> None:
        assert connection.session is not None
        connection.session.flush()
        connection.data["name"] = "Ann"

    key = await amake_session(await User.objects.acreate(username="ann"))
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit("flush")
        await client.expect_close(4401)
    assert not await Session.objects.aexists()


async def test_a_handler_that_logs_out_ends_the_users_sockets_of_the_session() -> None:
    @etp_event("logout")
    async def log_out(connection: Connection, event: Event) -> None:
        await logout(connection.scope)

    user = await User.objects.acreate(username="ann")
    key, other_key = await amake_session(user), await amake_session(user)
    async with (
        EtpCommunicator(headers=cookie(key)) as client,
        EtpCommunicator(headers=cookie(key)) as tab,
        EtpCommunicator(headers=cookie(other_key)) as device,
    ):
        await client.emit("logout")
        await client.expect_close(4401)
        await tab.expect_close(4401)
        await device.expect_nothing()
        assert await acontent_of(key) is None


async def test_a_handler_that_logs_somebody_in_writes_under_the_new_key() -> None:
    ids = tell_ids()
    user = await User.objects.acreate(username="ann", last_login=None)

    @etp_event("login")
    async def log_in(connection: Connection, event: Event) -> None:
        await login(connection.scope, user, backend="django.contrib.auth.backends.ModelBackend")
        assert connection.session is not None
        connection.data["name"] = "Ann"

    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("login")
        session = await Session.objects.aget()
        assert session.session_key != key
        content = await acontent_of(session.session_key)
        assert content is not None
        assert content["etp"] == {ids[0]: {"name": "Ann"}}
        assert content["cart"] == [1]


@pytest.mark.parametrize("touches", ["nothing", "data", "session"])
async def test_a_login_before_the_accept_is_stored(touches: str) -> None:
    ada = await User.objects.acreate(username="ada", last_login=None)

    @on_connect
    async def log_in(connection: Connection) -> None:
        await login(connection.scope, ada, backend="django.contrib.auth.backends.ModelBackend")
        if touches != "nothing":
            getattr(connection, touches)["touched"] = True

    application, accepts = recorded()
    async with EtpCommunicator(application, headers=cookie(await amake_session(cart=[1]))):
        session = await Session.objects.aget()
        assert accepts[0]["headers"][0][1].startswith(f"sessionid={session.session_key};".encode())
        content = session.get_decoded()
        assert (content["cart"], content[SESSION_KEY]) == ([1], str(ada.pk))
        assert [info.user_id for info in await rooms.aconnections()] == [ada.pk]


@pytest.mark.parametrize("touches", ["nothing", "data", "session"])
async def test_a_login_is_stored_with_what_its_handler_changes(touches: str) -> None:
    ada = await User.objects.acreate(username="ada", last_login=None)

    @etp_event("login")
    async def log_in(connection: Connection, event: Event) -> None:
        await login(connection.scope, ada, backend="django.contrib.auth.backends.ModelBackend")
        if touches != "nothing":
            getattr(connection, touches)["touched"] = True

    async with EtpCommunicator(headers=cookie(await amake_session(cart=[1]))) as client:
        await client.emit_with_ack("login")
        content = (await Session.objects.aget()).get_decoded()
        assert (content["cart"], content[SESSION_KEY]) == ([1], str(ada.pk))


async def test_a_login_that_no_handler_does_is_stored_as_the_connection_ends() -> None:
    ada = await User.objects.acreate(username="ada", last_login=None)
    connections: list[Connection] = []

    @etp_event("keep")
    async def keep(connection: Connection, event: Event) -> None:
        connections.append(connection)

    async with EtpCommunicator(), EtpCommunicator(headers=cookie(await amake_session(cart=[1]))) as client:
        await client.emit_with_ack("keep")
        await login(connections[0].scope, ada, backend="django.contrib.auth.backends.ModelBackend")
        await client.disconnect()
        content = (await Session.objects.aget()).get_decoded()
        assert (content["cart"], content[SESSION_KEY]) == ([1], str(ada.pk))


@pytest.mark.parametrize("keeps", [True, False], ids=["touches-the-session", "leaves-it-alone"])
async def test_who_is_logged_in_by_a_handler_is_the_connections_user(keeps: bool, settings: Any) -> None:
    ada = await User.objects.acreate(username="ada", last_login=None)
    settings.ETP = {"SESSION_CHECK_INTERVAL": 0.2}

    @etp_event("login")
    async def log_in(connection: Connection, event: Event) -> None:
        if keeps:
            assert connection.session is not None
        await login(connection.scope, ada, backend="django.contrib.auth.backends.ModelBackend")

    async with EtpCommunicator(headers=cookie(await amake_session())) as client:
        await client.emit_with_ack("login")
        await auntil(user_ids, [ada.pk])
        await rooms.aemit(rooms.user(ada), "for", "ada")
        assert (await client.expect_event("for")).data == "ada"
        await client.expect_nothing(timeout=0.5)  # the checks at intervals find nothing wrong
        ada.is_active = False
        await ada.asave()
        await client.expect_close(4401)


async def user_ids() -> list[Any]:
    return [info.user_id for info in await rooms.aconnections()]


@pytest.mark.parametrize("touches", ["nothing", "data", "session"])
@pytest.mark.parametrize("engine", [*WITH_LOCK, *WITHOUT_LOCK])
async def test_a_login_of_another_user_makes_the_connection_that_users(
    engine: str, touches: str, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Django then starts a new session, whose key is made when it is saved."""
    use_engine(engine, settings, monkeypatch, tmp_path)
    settings.ETP = {"SESSION_CHECK_INTERVAL": 0.2}
    ada = await User.objects.acreate(username="ada", last_login=None)
    bob = await User.objects.acreate(username="bob", last_login=None)
    ids, keys = tell_ids(), []

    @etp_event("login")
    async def log_in(connection: Connection, event: Event) -> None:
        if touches != "nothing":
            getattr(connection, touches)["touched"] = True
        await login(connection.scope, bob, backend="django.contrib.auth.backends.ModelBackend")

    @etp_event("put")
    async def put_and_tell(connection: Connection, event: Event) -> None:
        connection.data["name"] = "Bob"
        assert connection.session is not None
        keys.append(connection.session.session_key)

    key = await amake_session(ada, cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("login")
        assert await user_ids() == [bob.pk]
        assert await rooms.amembers(rooms.user(ada)) == []
        await rooms.aemit(rooms.user(bob), "for", "bob")
        assert (await client.expect_event("for")).data == "bob"
        await client.emit_with_ack("put")
        assert keys[0] not in (None, key)
        content = await acontent_of(keys[0])
        assert content is not None
        assert content[SESSION_KEY] == str(bob.pk)
        assert content["etp"][ids[0]]["name"] == "Bob"
        assert "cart" not in content
        assert await acontent_of(key) is None
        await client.expect_nothing(timeout=0.5)  # the checks at intervals find nothing wrong
        await sync_to_async(store_class()(keys[0]).flush)()
        await client.expect_close(4401)


async def test_a_login_of_another_user_before_the_accept_sends_the_new_cookie() -> None:
    ada = await User.objects.acreate(username="ada", last_login=None)
    bob = await User.objects.acreate(username="bob", last_login=None)

    @on_connect
    async def log_in(connection: Connection) -> None:
        await login(connection.scope, bob, backend="django.contrib.auth.backends.ModelBackend")

    application, accepts = recorded()
    async with EtpCommunicator(application, headers=cookie(await amake_session(ada))):
        session = await Session.objects.aget()
        assert accepts[0]["headers"][0][1].startswith(f"sessionid={session.session_key};".encode())
        assert session.get_decoded()[SESSION_KEY] == str(bob.pk)
        assert await user_ids() == [bob.pk]


@pytest.mark.parametrize("before", ["ada", "nobody"])
async def test_a_login_outlives_a_check_while_its_handler_runs(before: str) -> None:
    inside, door = asyncio.Event(), asyncio.Event()
    ada = await User.objects.acreate(username="ada", last_login=None)
    bob = await User.objects.acreate(username="bob", last_login=None)

    @etp_event("login")
    async def log_in(connection: Connection, event: Event) -> None:
        await login(connection.scope, bob, backend="django.contrib.auth.backends.ModelBackend")
        inside.set()
        await door.wait()

    key = await amake_session(ada if before == "ada" else None)
    async with EtpCommunicator(headers=cookie(key)) as client:
        answer = asyncio.create_task(client.emit_with_ack("login"))
        await inside.wait()
        await check_connections(all_members())
        door.set()
        await answer
        assert (await Session.objects.aget()).get_decoded()[SESSION_KEY] == str(bob.pk)
        assert await user_ids() == [bob.pk]


async def test_a_login_after_the_session_was_gone_is_stored() -> None:
    handler("put", True, put)
    ada = await User.objects.acreate(username="ada", last_login=None)

    @etp_event("login")
    async def log_in(connection: Connection, event: Event) -> None:
        await login(connection.scope, ada, backend="django.contrib.auth.backends.ModelBackend")

    key = await amake_session(cart=[1])
    async with EtpCommunicator(headers=cookie(key)) as client:
        await sync_to_async(store_class()(key).flush)()
        await client.emit_with_ack("put", "Ann")
        await client.emit_with_ack("login")
        session = await Session.objects.aget()
        assert session.get_decoded()[SESSION_KEY] == str(ada.pk)
        assert list(session.get_decoded()["etp"].values()) == [{"name": "Ann"}]


@both
@pytest.mark.parametrize("stack", ["with-session", "without-session"])
@pytest.mark.parametrize("where", ["on_connect", "event"])
async def test_a_user_put_into_the_scope_is_the_connections_user(
    where: str, stack: str, is_async: bool, settings: Any
) -> None:
    settings.ETP = {"SESSION_CHECK_INTERVAL": 0.2}
    ada = await User.objects.acreate(username="ada")
    bob = await User.objects.acreate(username="bob")

    def become(connection: Connection, event: Event | None = None) -> None:
        connection.scope["user"] = bob

    hook(on_connect, is_async, become if where == "on_connect" else lambda connection: None)
    handler("become", is_async, become)
    application = None if stack == "with-session" else EtpConsumer.as_asgi()
    headers = cookie(await amake_session(ada)) if stack == "with-session" else ()
    async with EtpCommunicator(application, headers=headers) as client:
        if where == "event":
            await client.emit_with_ack("become")
        assert await user_ids() == [bob.pk]
        assert await rooms.amembers(rooms.user(ada)) == []
        await rooms.aemit(rooms.user(bob), "for", "bob")
        assert (await client.expect_event("for")).data == "bob"
        await client.expect_nothing(timeout=0.5)  # the checks at intervals find nothing wrong
        bob.is_active = False
        await bob.asave()
        await client.expect_close(4401)


@isolate_apps("django.contrib.auth")
@pytest.mark.parametrize("how", ["save", "delete"])
async def test_a_user_who_changes_as_another_model_is_checked_at_once(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Staff(User):
        class Meta:
            app_label = "auth"
            proxy = True

    monkeypatch.setattr(receivers, "apps", Staff._meta.apps)
    receivers.connect_signals()
    user = await User.objects.acreate(username="ada")
    async with EtpCommunicator(user=user) as client:
        staff = await Staff.objects.aget()
        staff.is_active = False
        await (staff.asave() if how == "save" else staff.adelete())
        await client.expect_close(4401)


@dataclass
class Device:
    """What a project's own middleware may put into the scope's user."""

    pk: str


async def test_users_that_are_not_djangos_are_told_and_keep_no_other_from_being_checked() -> None:
    user = await User.objects.acreate(username="ada")
    async with EtpCommunicator(user=user) as client, EtpCommunicator(user=Device("robot-7")) as device:
        assert {info.user_id for info in await rooms.aconnections()} == {user.pk, "robot-7"}
        await User.objects.aupdate(is_active=False)
        await check_connections(all_members())
        await client.expect_close(4401)
        await device.expect_nothing()


async def test_a_user_whose_key_came_as_text_stays_and_is_checked() -> None:
    """As from a token, whose claims are text."""
    ada = await User.objects.acreate(username="ada")
    async with EtpCommunicator(user=User(pk=str(ada.pk))) as client, EtpCommunicator(user=User(pk="nobody")) as odd:
        assert [info.user_id for info in await rooms.amembers(rooms.user(ada))] == [ada.pk]
        await check_connections(all_members())
        await odd.expect_close(4401)
        await client.expect_nothing()
        ada.is_active = False
        await ada.asave()
        await client.expect_close(4401)


# Where writing fails


async def test_a_failed_write_is_reported_once_and_tried_again_with_the_next_one(writes: Writes) -> None:
    told, ids = errors(), tell_ids()
    handler("put", True, put)
    handler("read", True, lambda connection, event: connection.data["name"])
    key = await amake_session()

    async with EtpCommunicator(headers=cookie(key)) as client:
        writes.fail = True
        await client.emit("put", "Ann")
        await until(lambda: told)
        writes.fail = False
        await client.emit_with_ack("read")
        assert await data_of(key, ids[0]) == {"name": "Ann"}
    assert [type(error) for error in told] == [OSError]


async def test_a_failed_write_before_the_accept_does_not_refuse_it(writes: Writes) -> None:
    told = errors()
    hook(on_connect, True, put)
    key = await amake_session()

    writes.fail = True
    async with EtpCommunicator(headers=cookie(key)):
        await until(lambda: told)
        writes.fail = False


async def test_a_malformed_frame_is_reported_without_a_write(writes: Writes) -> None:
    told = errors()
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        writes.count = 0
        await client.send_frame("no frame")
        await until(lambda: told)
        assert writes.count == 0
    assert isinstance(told[0], InvalidFrame)


# The bounds


async def test_data_that_is_too_large_fails_its_own_event_alone(settings: Any) -> None:
    settings.ETP = {"MAX_DATA_SIZE": 200}
    ids = tell_ids()
    handler("put", True, put)
    key = await amake_session()
    async with EtpCommunicator(headers=cookie(key)) as client:
        await client.emit_with_ack("put", "Ann")
        with pytest.raises(AckTimeout, match="DataTooLarge"):
            await client.emit_with_ack("put", "x" * 300)
        assert await data_of(key, ids[0]) == {"name": "Ann"}
        with pytest.raises(DataTooLarge, match="Nothing was changed"):
            await rooms.aupdate_data(ids[0], {"seat": "y" * 190})
        assert await rooms.aupdate_data(ids[0], {"seat": 1}) == {"name": "Ann", "seat": 1}
        assert await data_of(key, ids[0]) == {"name": "Ann", "seat": 1}
        with pytest.raises(DataTooLarge):
            await rooms.aupdate_data(ids[0], {"seat": "y" * 300})
    with pytest.raises(AckTimeout, match="DataTooLarge"):  # a visitor's, which is in memory
        async with EtpCommunicator() as client:
            await client.emit_with_ack("put", "x" * 300)


async def test_data_without_place_in_its_session_stays_in_memory(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ETP = {"MAX_DATA_SIZE": 300}
    monkeypatch.setattr(maintenance, "_LOOK_AFTER_EVERY", 0.02)
    ids = tell_ids()
    handler("put", True, put)
    handler("get", True, lambda connection, event: connection.data["name"])
    key = await amake_session()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(EtpCommunicator(headers=cookie(key))) for _ in range(3)]
        for client in clients:
            await client.emit_with_ack("put", "x" * 170)
        content = await acontent_of(key)
        assert content is not None
        assert content["etp"].keys() == {*ids[:2]}
        for _ in range(2):
            assert (await clients[2].emit_with_ack("put", "y" * 170)).data == ""
        assert (await clients[2].emit_with_ack("get")).data == "y" * 170
        assert await rooms.adata(ids[2]) == {"name": "y" * 170}
        assert caplog.text.count(f"The data of connection {ids[2]} stays in memory") == 1
        # It is stored once there is place.
        await clients[0].disconnect()
        await auntil(lambda: data_of(key, ids[2]), {"name": "y" * 170})


async def test_many_connections_of_a_session_that_write_at_once_write_a_few_times(writes: Writes) -> None:
    key = await amake_session()
    handler("put", True, put)
    ids = tell_ids()
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(EtpCommunicator(headers=cookie(key))) for _ in range(10)]
        await asyncio.gather(*(client.emit_with_ack("put", "Ann") for client in clients))
        content = await acontent_of(key)
        assert content is not None
        assert content["etp"] == {id: {"name": "Ann"} for id in ids}
        assert writes.count < 5
