"""Threads for plain functions: bounded pools of their own, fresh database connections, the tests' mode."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import connection as database

from django_etp import Connection, Disconnect, on_connect, on_disconnect, rooms
from django_etp.concurrency import database as database_module
from django_etp.concurrency import workers
from django_etp.concurrency.database import keep_database_fresh
from django_etp.concurrency.workers import run_handler, run_hook, run_own
from django_etp.testing.waiting import thread_sensitive
from tests.inprocess import Wire, until
from tests.stored import content_of, make_session, store_class, use_engine

language: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="none")


class Crowd:
    """Functions that wait until they are let go, counted."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.door = threading.Event()
        self._lock = threading.Lock()

    def wait(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.door.wait(10)
        with self._lock:
            self.inside -= 1


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    crowd = Crowd()
    yield crowd
    crowd.door.set()


async def test_a_plain_handler_runs_in_a_thread_of_the_librarys_own() -> None:
    name = await run_handler(lambda: threading.current_thread().name)
    shared = await sync_to_async(threading.current_thread)()
    assert name.startswith("etp-handler")
    assert name != shared.name


async def test_a_plain_hook_runs_in_a_thread_that_no_handler_has() -> None:
    assert (await run_hook(lambda: threading.current_thread().name)).startswith("etp-hook")


async def test_it_gets_its_arguments_and_its_return_comes_back() -> None:
    assert await run_handler(divmod, 7, 2) == (3, 1)


async def test_what_it_raises_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_handler(divmod, 1, 0)


async def stop_iteration_in(run: Any) -> RuntimeError:
    """Run a function that takes the next of what has none, and return what comes of it."""
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="A plain function raised StopIteration") as raised:
            await run(next, iter(()))
    assert isinstance(raised.value.__cause__, StopIteration)
    return raised.value


@pytest.mark.parametrize("run", [run_handler, run_hook])
async def test_a_stop_iteration_is_raised_as_another_error(run: Any) -> None:
    await stop_iteration_in(run)


async def test_handlers_run_side_by_side_up_to_the_setting(settings: Any, crowd: Crowd) -> None:
    settings.ETP = {"SYNC_WORKERS": 3}
    calls = [asyncio.create_task(run_handler(crowd.wait)) for _ in range(10)]
    await until(lambda: crowd.inside == 3)
    crowd.door.set()
    await asyncio.gather(*calls)
    assert crowd.most == 3


@pytest.mark.parametrize(
    ("run", "other"),
    [(run_handler, run_hook), (run_handler, run_own), (run_hook, run_own)],
    ids=lambda run: run.__name__,
)
async def test_what_waits_leaves_the_others_their_threads(settings: Any, crowd: Crowd, run: Any, other: Any) -> None:
    settings.ETP = {"SYNC_WORKERS": 2}
    calls = [asyncio.create_task(run(crowd.wait)) for _ in range(10)]
    await until(lambda: crowd.inside == 2)
    async with asyncio.timeout(5):
        assert await other(int, "7") == 7
    crowd.door.set()
    await asyncio.gather(*calls)


@pytest.mark.usefixtures("etp_registry")
async def test_a_plain_hook_changes_the_data_of_other_connections_where_there_is_one_thread(
    settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    use_engine("file", settings, monkeypatch, tmp_path)
    settings.ETP = {"SYNC_WORKERS": 1}
    ids: list[str] = []
    passed_on: list[dict[str, Any]] = []

    @on_connect
    async def keep(connection: Connection) -> None:
        ids.append(connection.id)

    @on_disconnect
    def pass_on(connection: Connection, disconnect: Disconnect) -> None:
        if connection.id == ids[0]:
            passed_on.append(rooms.update_data(ids[1], {"seat": 1}))

    keys = make_session(), make_session()
    leaving = await Wire(session=store_class()(keys[0])).open()
    async with Wire(session=store_class()(keys[1])):
        leaving.vanish()
        await leaving.ended(timeout=5)
        assert passed_on == [{"seat": 1}]
        assert content_of(keys[1]) == {"etp": {ids[1]: {"seat": 1}}}


async def test_handlers_that_wait_leave_asgirefs_shared_thread_alone(settings: Any, crowd: Crowd) -> None:
    settings.ETP = {"SYNC_WORKERS": 2}
    calls = [asyncio.create_task(run_handler(crowd.wait)) for _ in range(10)]
    await until(lambda: crowd.inside == 2)
    async with asyncio.timeout(5):
        assert await sync_to_async(int)("7") == 7
    crowd.door.set()
    await asyncio.gather(*calls)


async def test_a_cancelled_call_does_not_wait_for_its_thread(crowd: Crowd) -> None:
    call = asyncio.create_task(run_handler(crowd.wait))
    await until(lambda: crowd.inside == 1)
    call.cancel()
    async with asyncio.timeout(1):
        with pytest.raises(asyncio.CancelledError):
            await call
    assert crowd.inside == 1


async def test_what_a_call_raises_after_it_was_cancelled_troubles_nobody(crowd: Crowd) -> None:
    def wait_and_raise() -> None:
        crowd.wait()
        raise ValueError("nobody hears this")

    before = asyncio.all_tasks()
    call = asyncio.create_task(run_handler(wait_and_raise))
    await until(lambda: crowd.inside == 1)
    call.cancel()
    crowd.door.set()
    await until(lambda: asyncio.all_tasks() == before)


async def test_context_variables_are_seen_in_the_thread() -> None:
    language.set("de")
    assert await run_handler(language.get) == "de"


async def test_context_variables_set_in_a_thread_stay_there() -> None:
    await run_handler(language.set, "fr")
    assert language.get() == "none"


# Database connections


def spoil() -> None:
    """Leave a connection behind as a failed query does; Django looks after it before its next request."""
    database.ensure_connection()
    database.errors_occurred = True


def is_spoiled() -> bool:
    return database.errors_occurred


def hang_up() -> None:
    if database.connection is not None:
        database.connection.close()
        database.connection = None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", [run_handler, run_hook])
async def test_the_database_connections_of_a_thread_are_looked_after(settings: Any, run: Any) -> None:
    settings.ETP = {"SYNC_WORKERS": 1}
    try:
        await run(spoil)
        assert not await run(is_spoiled)
    finally:
        await run(hang_up)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("run", [run_handler, run_hook, run_own])
async def test_a_thread_that_has_nothing_to_do_closes_its_connections_when_they_are_old(
    settings: Any, monkeypatch: Any, run: Any
) -> None:
    settings.ETP = {"SYNC_WORKERS": 3}  # a pool of the test's own
    monkeypatch.setattr(workers, "_CLOSE_EVERY", 0.02)

    def open_one() -> Any:
        database.ensure_connection()
        database.close_at = time.monotonic() + 3600
        return connections[DEFAULT_DB_ALIAS]

    held = await run(open_one)
    try:
        held.errors_occurred = True
        await until(lambda: not held.errors_occurred)  # looked after
    finally:
        await run(hang_up)


@pytest.mark.django_db(transaction=True)
async def test_the_database_connections_of_asgirefs_thread_are_looked_after(monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_FRESH_FOR", -1.0)
    await sync_to_async(spoil)()
    try:
        await keep_database_fresh()
        assert not await sync_to_async(is_spoiled)()
    finally:
        await sync_to_async(hang_up)()


async def test_looking_after_them_waits_for_nobody(monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_FRESH_FOR", -1.0)
    door = threading.Event()
    busy = asyncio.create_task(sync_to_async(door.wait)(20))
    await asyncio.sleep(0)
    try:
        await asyncio.wait_for(keep_database_fresh(), 10)
        assert not busy.done()
    finally:
        door.set()
        await busy


@pytest.mark.django_db(transaction=True)
async def test_looking_after_them_is_not_done_before_each_event(monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_FRESH_FOR", 3600.0)
    monkeypatch.setattr(database_module._shared, "looked_after_at", float("-inf"))
    await keep_database_fresh()
    await sync_to_async(spoil)()
    try:
        await keep_database_fresh()
        assert await sync_to_async(is_spoiled)()
    finally:
        await sync_to_async(hang_up)()


# The tests' mode


async def test_thread_sensitive_functions_run_where_the_orm_runs() -> None:
    with thread_sensitive():
        mine = await run_handler(threading.get_ident)
        hooks = await run_hook(threading.get_ident)
    assert mine == hooks == await sync_to_async(threading.get_ident)()


@pytest.mark.parametrize("run", [run_handler, run_hook])
async def test_a_stop_iteration_is_raised_as_another_error_there(run: Any) -> None:
    with thread_sensitive():
        await stop_iteration_in(run)


async def test_the_mode_ends_with_its_block() -> None:
    with thread_sensitive():
        pass
    assert (await run_handler(lambda: threading.current_thread().name)).startswith("etp-handler")


@pytest.mark.django_db(transaction=True)
async def test_thread_sensitive_functions_leave_database_connections_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_FRESH_FOR", -1.0)
    with thread_sensitive():
        await run_handler(spoil)
        try:
            await keep_database_fresh()
            assert await run_handler(is_spoiled)
        finally:
            await run_handler(hang_up)
