"""The event that the running handler handles."""

import asyncio
from typing import Any

import pytest

from django_etp import Connection, EtpError, Event, current_event, etp_event, on_error, on_unknown_event
from tests.support.hooks import both, handler
from tests.support.inprocess import Wire

pytestmark = pytest.mark.usefixtures("etp_registry")


@both
async def test_a_handler_finds_its_event(is_async: bool) -> None:
    handler("echo", is_async, lambda connection, event: [current_event() is event, current_event().data])
    async with Wire() as wire:
        wire.put("echo||3||hi")
        assert await wire.text() == '__ack_echo||3||[true,"hi"]'


@both
async def test_a_typed_handler_finds_its_event(is_async: bool) -> None:
    async def coroutine_function(connection: Connection, number: int) -> str:
        return f"{current_event().ack_id} {current_event().data} {number}"

    def plain_function(connection: Connection, number: int) -> str:
        return f"{current_event().ack_id} {current_event().data} {number}"

    etp_event("echo")(coroutine_function if is_async else plain_function)
    async with Wire() as wire:
        wire.put("echo||3|| 7")
        assert await wire.text() == "__ack_echo||3||3  7 7"


async def test_each_of_several_handlers_finds_its_own() -> None:
    go_on = asyncio.Event()

    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> Any:
        await go_on.wait()
        return current_event().data

    @etp_event("go")
    async def go(connection: Connection, event: Event) -> Any:
        go_on.set()
        return current_event().data

    async with Wire() as wire:
        wire.put("wait||1||one")
        wire.put("wait||2||two")
        wire.put("go||3||three")
        assert {await wire.text() for _ in range(3)} == {
            "__ack_wait||1||one",
            "__ack_wait||2||two",
            "__ack_go||3||three",
        }


async def test_hooks_of_the_event_find_it() -> None:
    on_unknown_event(lambda connection, event: current_event().name)
    found: list[str] = []

    @on_error
    async def failed(connection: Connection | None, error: BaseException) -> None:
        found.append(current_event().name)

    @etp_event("number")
    async def number(connection: Connection, value: int) -> None: ...

    async with Wire() as wire:
        wire.put("other||1")
        assert await wire.text() == "__ack_other||1||other"
        wire.put("number||0||x")
    assert found == ["number"]


def test_outside_of_handlers_there_is_none() -> None:
    with pytest.raises(EtpError, match="no handler runs here"):
        current_event()


async def test_a_task_that_outlives_its_handler_keeps_no_event() -> None:
    tasks: list[asyncio.Task[str]] = []
    go_on = asyncio.Event()

    async def work() -> str:
        before = current_event().data
        await go_on.wait()
        with pytest.raises(EtpError, match="it has ended"):
            current_event()
        return before

    @etp_event("begin")
    async def begin(connection: Connection, event: Event) -> None:
        tasks.append(asyncio.ensure_future(work()))
        await asyncio.sleep(0)

    async with Wire() as wire:
        wire.put("begin||1||one")
        assert await wire.text() == "__ack_begin||1"
        go_on.set()
        assert await tasks[0] == "one"
