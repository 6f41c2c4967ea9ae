"""A test's database connections in the thread of asgiref."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, connections

from django_etp.testing.database import connections_to_lend, is_borrowing, shared_connections


@pytest.mark.django_db
def test_a_connection_with_a_transaction_is_lent() -> None:
    assert connections_to_lend() == {"default": connections["default"]}


@pytest.mark.django_db
def test_an_event_loop_changes_nothing_about_what_is_lent() -> None:
    async def lent() -> object:
        return connections_to_lend()

    mine = connections["default"]
    assert asyncio.run(lent()) == {"default": mine}


@pytest.mark.django_db
async def test_the_other_thread_sees_the_transaction_and_writes_into_it() -> None:
    async with shared_connections():
        await Group.objects.acreate(name="staff")
        assert await sync_to_async(lambda: connection.in_atomic_block)()


async def test_loans_are_counted() -> None:
    assert not await sync_to_async(is_borrowing)()
    async with shared_connections():
        async with shared_connections():
            assert await sync_to_async(is_borrowing)()
        assert await sync_to_async(is_borrowing)()
    assert not await sync_to_async(is_borrowing)()


async def test_a_cancellation_while_connections_are_lent_leaves_no_loan() -> None:
    async def borrow() -> None:
        async with shared_connections():
            await asyncio.Event().wait()

    for turns in range(4):
        task = asyncio.create_task(borrow())
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not await sync_to_async(is_borrowing)()
