"""Threads for plain functions: bounded pools of their own, fresh database connections, the tests' mode."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connection as database

from django_etp import threads
from django_etp.threads import keep_database_fresh, run_handler, run_hook, thread_sensitive
from tests.inprocess import until

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


async def test_handlers_run_side_by_side_up_to_the_setting(settings: Any, crowd: Crowd) -> None:
    settings.ETP = {"SYNC_WORKERS": 3}
    calls = [asyncio.create_task(run_handler(crowd.wait)) for _ in range(10)]
    await until(lambda: crowd.inside == 3)
    crowd.door.set()
    await asyncio.gather(*calls)
    assert crowd.most == 3


async def test_handlers_that_wait_leave_hooks_their_threads(settings: Any, crowd: Crowd) -> None:
    settings.ETP = {"SYNC_WORKERS": 2}
    calls = [asyncio.create_task(run_handler(crowd.wait)) for _ in range(10)]
    await until(lambda: crowd.inside == 2)
    async with asyncio.timeout(5):
        assert await run_hook(int, "7") == 7
    crowd.door.set()
    await asyncio.gather(*calls)


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
async def test_the_database_connections_of_asgirefs_thread_are_looked_after(monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_FRESH_FOR", -1.0)
    await sync_to_async(spoil)()
    try:
        await keep_database_fresh()
        assert not await sync_to_async(is_spoiled)()
    finally:
        await sync_to_async(hang_up)()


@pytest.mark.django_db(transaction=True)
async def test_looking_after_them_is_not_done_before_each_event(monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_FRESH_FOR", 3600.0)
    monkeypatch.setattr(threads, "_looked_after_at", float("-inf"))
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


async def test_the_mode_ends_with_its_block() -> None:
    with thread_sensitive():
        pass
    assert (await run_handler(lambda: threading.current_thread().name)).startswith("etp-handler")


@pytest.mark.django_db(transaction=True)
async def test_thread_sensitive_functions_leave_database_connections_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(threads, "_FRESH_FOR", -1.0)
    with thread_sensitive():
        await run_handler(spoil)
        try:
            await keep_database_fresh()
            assert await run_handler(is_spoiled)
        finally:
            await run_handler(hang_up)
