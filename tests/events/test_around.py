"""What middleware gets from handlers and returns: streamed answers, values of declared types, and lazy texts."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.utils import translation
from django.utils.translation import gettext_lazy

from django_etp import Connection, Event, etp_event
from tests.support.hooks import both
from tests.support.inprocess import Wire, until
from tests.support.middleware import seen, use

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture(autouse=True)
def _seen() -> None:
    seen.clear()


async def shouting(connection: Connection, event: Event, handle: Any) -> Any:
    result = await handle(connection, event)

    async def shout() -> Any:
        try:
            async for part in result:
                yield part.upper()
        finally:
            seen.append("closed")

    return shout()


async def swallow(connection: Connection, event: Event, handle: Any) -> str:
    await handle(connection, event)
    return "swallowed"


def declare_stream() -> None:
    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> AsyncIterator[str]:
        try:
            yield "one"
            yield "two"
        finally:
            seen.append("handler closed")


async def test_of_a_streamed_answer_they_get_the_generator(settings: Any) -> None:
    use(settings, __name__, "inner")
    declare_stream()
    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put("ask||1")
        assert [await wire.text() for _ in range(3)] == ["__part_ask||1||one", "__part_ask||1||two", "__ack_ask||1"]
    assert isinstance(seen[1], AsyncGenerator)


async def test_one_may_put_a_generator_around_a_stream(settings: Any) -> None:
    use(settings, __name__, "shouting")
    declare_stream()
    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put("ask||1")
        assert [await wire.text() for _ in range(3)] == ["__part_ask||1||ONE", "__part_ask||1||TWO", "__ack_ask||1"]
    assert seen == ["handler closed", "closed"]


async def test_a_stream_with_a_generator_around_it_is_closed_at_once(settings: Any) -> None:
    use(settings, __name__, "shouting")

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> AsyncIterator[str]:
        try:
            yield "one"
            await asyncio.Event().wait()
        finally:
            seen.append("handler closed")

    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put("ask||1")
        assert await wire.text() == "__part_ask||1||ONE"
        wire.put("__stop_ask||1")
        await until(lambda: len(seen) == 2)
    assert seen == ["handler closed", "closed"]


async def test_one_may_answer_in_place_of_a_stream(settings: Any) -> None:
    use(settings, __name__, "swallow")
    declare_stream()
    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put("ask||1")
        assert await wire.text() == "__ack_ask||1||swallowed"


@dataclass
class Sum:
    total: int


@both
async def test_they_get_the_value_that_a_typed_handler_returned(is_async: bool, settings: Any) -> None:
    use(settings, __name__, "inner")

    async def coroutine_function(connection: Connection, numbers: list[int]) -> Sum:
        return Sum(sum(numbers))

    def plain_function(connection: Connection, numbers: list[int]) -> Sum:
        return Sum(sum(numbers))

    etp_event("sum")(coroutine_function if is_async else plain_function)
    async with Wire() as wire:
        wire.put("sum||1||[1,2]")
        assert await wire.text() == '__ack_sum||1||{"total":3}'
    assert seen[1] == Sum(3)


async def test_a_lazy_text_is_in_the_language_that_a_plain_handler_has_activated(settings: Any) -> None:
    use(settings, __name__, "inner")

    @etp_event("greet")
    def greet(connection: Connection, event: Event) -> Any:
        translation.activate("de")
        return {"day": gettext_lazy("Monday")}

    async with Wire() as wire:
        wire.put("greet||1")
        assert await wire.text() == '__ack_greet||1||{"day":"Montag"}'
