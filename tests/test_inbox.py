"""What waits between the channel layer and those who take it: in order, and without holding up the reading."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from django_etp import inbox
from django_etp.envelope import Malformed, Message, RoomMessage
from django_etp.inbox import Backlog
from tests.inprocess import until


def message(number: int, text: str = "news||0") -> RoomMessage:
    return RoomMessage("g", "s.1", 1.5, number, number - 1, [text])


@asynccontextmanager
async def giving(take: Callable[[Message], None]) -> AsyncIterator[Backlog]:
    backlog = Backlog(take)
    task = asyncio.create_task(backlog.give())
    yield backlog
    task.cancel()


async def test_messages_are_given_in_the_order_in_which_they_came() -> None:
    given: list[Any] = []
    async with giving(given.append) as backlog:
        for number in range(1, 101):
            backlog.put(message(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(given) == 100)
    assert [each.number for each in given] == list(range(1, 101))


async def test_reading_goes_on_while_giving_is_slow() -> None:
    """Else what a layer has no more room or time for is lost while a process is busy."""
    given: list[Message] = []

    def take(message: Message) -> None:
        time.sleep(0.01)
        given.append(message)

    async with giving(take) as backlog:
        for number in range(1, 201):
            for _ in range(5):  # as many turns as a receive takes that has round trips to make
                await asyncio.sleep(0)
            backlog.put(message(number))
        assert len(given) < 150
        await until(lambda: len(given) == 200)


async def test_giving_goes_on_while_messages_come_without_end() -> None:
    given: list[Message] = []
    async with giving(given.append) as backlog, asyncio.timeout(20):
        number = 0
        while len(given) < 1000:
            number += 1
            backlog.put(message(number))
            await asyncio.sleep(0)


async def test_while_much_is_given_others_have_their_turns() -> None:
    given: list[Message] = []

    def take(message: Message) -> None:
        time.sleep(0.001)
        given.append(message)

    async with giving(take) as backlog:
        for number in range(1, 101):
            backlog.put(message(number))
        turns = 0
        while len(given) < 100:
            turns += 1
            await asyncio.sleep(0)
    assert turns > 10


async def test_past_its_limit_reading_keeps_the_pace_of_giving(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "_MAX_WAITING", 100)
    given: list[Any] = []
    backlog = Backlog(given.append)
    for number in range(1, 6):
        backlog.put(message(number, "x" * 40))
    assert [each.number for each in given] == [1, 2, 3]


async def test_one_that_cannot_be_taken_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    given: list[Any] = []
    errors = {1: Malformed("it is odd indeed"), 2: ZeroDivisionError("oh")}

    def take(message: RoomMessage) -> None:
        if error := errors.get(message.number):
            raise error
        given.append(message)

    async with giving(take) as backlog:  # type: ignore[arg-type]
        for number in (1, 2, 3):
            backlog.put(message(number))
        await until(lambda: given)
    assert "it is odd indeed" in caplog.text
    assert "could not be handled" in caplog.text
