"""Database connections of threads that plain functions and the ORM's a-methods run in: they are looked after."""

import asyncio
import threading
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import connection as database

from django_etp.concurrency import database as fresh
from django_etp.concurrency import workers
from django_etp.concurrency.database import keep_database_fresh
from django_etp.concurrency.workers import run_handler, run_hook, run_own
from django_etp.testing.waiting import thread_sensitive
from tests.support.database import hang_up, is_spoiled, spoil
from tests.support.inprocess import until


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
    monkeypatch.setattr(fresh, "_FRESH_FOR", -1.0)
    await sync_to_async(spoil)()
    try:
        await keep_database_fresh()
        assert not await sync_to_async(is_spoiled)()
    finally:
        await sync_to_async(hang_up)()


async def test_looking_after_them_waits_for_nobody(monkeypatch: Any) -> None:
    monkeypatch.setattr(fresh, "_FRESH_FOR", -1.0)
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
    monkeypatch.setattr(fresh, "_FRESH_FOR", 3600.0)
    monkeypatch.setattr(fresh._shared, "checked_at", float("-inf"))
    await keep_database_fresh()
    await sync_to_async(spoil)()
    try:
        await keep_database_fresh()
        assert await sync_to_async(is_spoiled)()
    finally:
        await sync_to_async(hang_up)()


@pytest.mark.django_db(transaction=True)
async def test_thread_sensitive_functions_leave_database_connections_alone(monkeypatch: Any) -> None:
    monkeypatch.setattr(fresh, "_FRESH_FOR", -1.0)
    with thread_sensitive():
        await run_handler(spoil)
        try:
            await keep_database_fresh()
            assert await run_handler(is_spoiled)
        finally:
            await run_handler(hang_up)
