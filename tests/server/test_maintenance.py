"""Work at intervals for the connections of a hub. For their data see tests/sessions/test_session.py."""

import asyncio
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from django_etp import Connection, Event, etp_event
from django_etp.server import maintenance
from tests.support.database import hang_up, is_spoiled, spoil
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_spoiled_first", [True, False], ids=["before the first connection", "while it is open"])
async def test_async_handlers_find_fresh_database_connections(monkeypatch: Any, is_spoiled_first: bool) -> None:
    monkeypatch.setattr(maintenance, "_DATABASE_EVERY", 3600.0 if is_spoiled_first else 0.01)

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> bool:
        return await sync_to_async(is_spoiled)()

    if is_spoiled_first:
        await sync_to_async(spoil)()
    try:
        async with Wire() as wire:
            if not is_spoiled_first:
                await sync_to_async(spoil)()
            answers = []
            async with asyncio.timeout(5):
                while "false" not in answers:
                    wire.put("ask||1")
                    answers.append((await wire.text()).removeprefix("__ack_ask||1||"))
            assert not is_spoiled_first or answers == ["false"]
    finally:
        await sync_to_async(hang_up)()


async def test_what_fails_is_logged_and_tried_again(monkeypatch: Any, caplog: pytest.LogCaptureFixture) -> None:
    tries = []

    async def fail() -> None:
        tries.append(1)
        raise OSError

    monkeypatch.setattr(maintenance, "_DATABASE_EVERY", 0.01)
    monkeypatch.setattr(maintenance, "look_after_database", fail)
    async with Wire():
        await until(lambda: len(tries) > 2)
    assert "could not be checked; the next round" in caplog.text


def test_database_connections_are_looked_after_often_enough() -> None:
    assert maintenance._DATABASE_EVERY <= 10
