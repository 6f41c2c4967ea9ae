"""`manage.py etp_drain`, in the process that serves. Another process is in tests/project/test_proxy.py."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from django_etp import Connection, Event, etp_event
from django_etp.draining import draining
from django_etp.management.commands import etp_drain
from django_etp.server import drain
from django_etp.server.drain import ProcessDrain
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture(autouse=True)
def _process(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.ETP = {"DRAIN_SECONDS": 0.01}
    process = ProcessDrain()
    monkeypatch.setattr(drain, "process_drain", process)
    monkeypatch.setattr(etp_drain, "_DISCOVERY", 0.0)
    monkeypatch.setattr(etp_drain, "_ASK_EVERY", 0.01)
    yield
    process.forget()


async def run(*arguments: str) -> str:
    """Run the command in a thread of its own, and return what it printed."""
    printed = StringIO()
    await asyncio.to_thread(call_command, "etp_drain", *arguments, stdout=printed)
    return printed.getvalue()


@asynccontextmanager
async def client() -> AsyncIterator[Wire]:
    """A connection whose client answers a close."""
    async with Wire() as wire:

        async def answer() -> None:
            assert (await wire.next())["type"] == "websocket.close"
            wire.vanish(1012)

        answering = asyncio.create_task(answer())
        yield wire
        answering.cancel()


async def test_it_returns_when_all_connections_have_ended() -> None:
    async with client() as one, client() as other:
        first, second = (await run()).splitlines()
        assert one.task.done()
        assert other.task.done()
    assert first == "Draining 1 processes with 2 connections."
    assert second.startswith("Drained in ")
    assert draining.has_begun


@pytest.mark.parametrize("id_of", [os.getpid, os.getppid])
async def test_it_drains_a_process_by_its_id_or_by_that_of_its_parent(id_of: Callable[[], int]) -> None:
    async with client():
        assert "with 1 connections" in await run("--pid", str(id_of()))


async def test_another_process_goes_on() -> None:
    async with Wire() as wire:
        assert await run("--pid", "1") == (
            "No server process with the id 1 has a connection, so there is nothing to drain.\n"
        )
        assert len(wire.sent) == 1  # the accept
        assert not draining.has_begun


async def test_another_machine_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Wire():
        monkeypatch.setattr(drain.socket, "gethostname", iter(["elsewhere", *["here"] * 9]).__next__)
        assert (await run()).startswith("No server process on here ")
        assert not draining.has_begun


async def test_it_fails_when_the_time_is_over() -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> None:
        begun.set()
        await goes_on.wait()

    async with Wire() as wire:
        wire.put("work||1")
        await begun.wait()
        with pytest.raises(CommandError, match=r"After 0\.05 s 1 connections have not ended"):
            await run("--timeout", "0.05")
        goes_on.set()


async def test_it_fails_without_the_setting(settings: Any) -> None:
    settings.ETP = {}
    with pytest.raises(CommandError, match=r"ETP\['DRAIN_SECONDS'\] is 0"):
        await run()


def test_it_fails_if_it_can_reach_no_other_process() -> None:
    with pytest.raises(CommandError, match="does not span processes"):
        call_command("etp_drain")
