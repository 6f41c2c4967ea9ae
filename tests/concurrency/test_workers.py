"""Threads for plain functions: bounded pools of their own."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from django_etp import Connection, Disconnect, on_connect, on_disconnect, rooms
from django_etp.concurrency.workers import run_handler, run_hook, run_own
from tests.support.inprocess import Wire, until
from tests.support.stored import content_of, make_session, store_class, use_engine

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


@pytest.mark.parametrize("run", [run_handler, run_hook, run_own])
async def test_one_owner_leaves_threads_to_others(settings: Any, crowd: Crowd, run: Any) -> None:
    settings.ETP = {"SYNC_WORKERS": 4}
    calls = [asyncio.create_task(run(crowd.wait, owner="greedy")) for _ in range(20)]
    await until(lambda: crowd.inside == 2)
    async with asyncio.timeout(5):
        assert await run(int, "7", owner="other") == 7
    crowd.door.set()
    await asyncio.gather(*calls)
    assert crowd.most == 2


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


@pytest.mark.django_db
async def test_a_query_that_outlives_its_test_ends_before_its_connection_is_closed() -> None:
    """SQLite would crash the process, at the end of this test."""
    begun = threading.Event()
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 100000)"

    def count() -> None:
        with connection.cursor() as cursor:
            for _ in range(10):
                begun.set()
                cursor.execute(f"{numbers} SELECT count(*) FROM n")

    asyncio.get_running_loop().create_task(run_own(count))
    await until(begun.is_set)
