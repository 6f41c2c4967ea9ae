"""When outboxes are written: which writes go out at once, what one task writes, and who is held up by whom."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from django.test import override_settings

from django_etp.concurrency.flusher import Flusher
from tests.support.inprocess import until


@pytest.fixture
async def flusher() -> Flusher:
    return Flusher(asyncio.get_running_loop(), contextvars.copy_context())


class Outbox:
    """An outbox that is flushed by a call of ``write``."""

    is_over = False
    takes_parts = True
    taken = 0

    def __init__(self, write: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._write = write
        self.is_waiting = True
        self.given_up = False

    async def flush(self) -> None:
        await self._write()
        self.is_waiting = False

    def give_up(self, seconds: float) -> None:
        self.given_up = True


class Outboxes:
    """Outboxes that note when they are written, and by which task."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.tasks: set[asyncio.Task[None] | None] = set()
        self.takes = asyncio.Event()

    async def write(self, name: str) -> None:
        self.tasks.add(asyncio.current_task())
        self.written.append(name)

    async def hold_up(self, name: str) -> None:
        await self.takes.wait()
        self.written.append(name)


async def test_one_task_writes_many_outboxes_in_the_order_in_which_they_came(flusher: Flusher) -> None:
    outboxes, names = Outboxes(), [str(number) for number in range(1000)]
    for name in names:
        flusher.add(Outbox(lambda name=name: outboxes.write(name)))
    assert outboxes.written == []
    await until(lambda: len(outboxes.written) == 1000)
    assert outboxes.written == names
    assert len(outboxes.tasks) == 1


async def test_what_comes_in_a_turn_of_the_loop_is_written_in_the_next(flusher: Flusher) -> None:
    outboxes = Outboxes()
    flusher.add(Outbox(lambda: outboxes.write("first")))
    await asyncio.sleep(0)
    assert outboxes.written == ["first"]
    flusher.add(Outbox(lambda: outboxes.write("second")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert outboxes.written == ["first", "second"]


@pytest.mark.parametrize("held_up", [1, 3])
async def test_a_reader_that_takes_nothing_holds_up_nobody_behind_it(flusher: Flusher, held_up: int) -> None:
    outboxes = Outboxes()
    for number in range(held_up):
        flusher.add(Outbox(lambda number=number: outboxes.hold_up(f"slow {number}")))
        flusher.add(Outbox(lambda number=number: outboxes.write(f"fast {number}")))
    await until(lambda: len(outboxes.written) == held_up)
    assert outboxes.written == [f"fast {number}" for number in range(held_up)]
    flusher.add(Outbox(lambda: outboxes.write("later")))
    await until(lambda: "later" in outboxes.written)
    outboxes.takes.set()
    await until(lambda: len(outboxes.written) == 2 * held_up + 1)


async def test_a_thousand_readers_that_take_nothing_hold_up_others_for_few_turns(flusher: Flusher) -> None:
    outboxes = Outboxes()
    for _ in range(1000):
        flusher.add(Outbox(lambda: outboxes.hold_up("slow")))
    flusher.add(Outbox(lambda: outboxes.write("fast")))
    turns = 0
    while not outboxes.written:
        await asyncio.sleep(0)
        turns += 1
    assert turns <= 12
    outboxes.takes.set()
    await until(lambda: len(outboxes.written) == 1001)


async def test_a_writer_that_is_cancelled_takes_no_other_outbox_with_it(flusher: Flusher) -> None:
    outboxes = Outboxes()
    before = asyncio.all_tasks()
    flusher.add(Outbox(lambda: outboxes.hold_up("slow")))
    await asyncio.sleep(0)
    (stuck,) = asyncio.all_tasks() - before
    flusher.add(Outbox(lambda: outboxes.write("behind it")))
    stuck.cancel()
    await until(lambda: outboxes.written == ["behind it"])
    await until(lambda: asyncio.all_tasks() == before)


async def test_all_that_waits_is_written_before_the_loop_turns(flusher: Flusher) -> None:
    outboxes = Outboxes()
    for sends in range(1, 11):
        for _ in range(1000):
            flusher.add(Outbox(lambda: outboxes.write("")))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(outboxes.written) == 1000 * sends


async def test_the_first_write_of_a_turn_may_go_out_at_once(flusher: Flusher) -> None:
    assert flusher.take_turn(Outbox(asyncio.Event().wait))
    assert not flusher.take_turn(Outbox(asyncio.Event().wait))
    await asyncio.sleep(0)
    assert flusher.take_turn(Outbox(asyncio.Event().wait))


async def test_no_write_goes_out_at_once_before_what_waits(flusher: Flusher) -> None:
    outboxes = Outboxes()
    flusher.add(Outbox(lambda: outboxes.write("waits")))
    assert not flusher.take_turn(Outbox(asyncio.Event().wait))
    await until(lambda: outboxes.written == ["waits"])
    await asyncio.sleep(0)
    assert flusher.take_turn(Outbox(asyncio.Event().wait))


async def test_its_tasks_see_no_context_of_those_who_write(flusher: Flusher) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")
    seen: list[str] = []

    async def look() -> None:
        seen.append(variable.get())

    variable.set("somebody's")
    flusher.add(Outbox(look))
    await until(lambda: seen == ["none"])


async def test_it_keeps_no_task_that_has_ended(flusher: Flusher) -> None:
    outboxes, before = Outboxes(), asyncio.all_tasks()
    for _ in range(10):
        flusher.add(Outbox(lambda: outboxes.write("")))
        await asyncio.sleep(0)
    await until(lambda: asyncio.all_tasks() == before and not flusher._tasks)


@override_settings(ETP={"SLOW_CLIENT_TIMEOUT": 0.05})
@pytest.mark.parametrize("fast", [0, 1000])
async def test_an_outbox_that_is_not_written_in_its_turn_is_watched(flusher: Flusher, fast: int) -> None:
    outboxes = Outboxes()
    slow = [Outbox(lambda: outboxes.hold_up("slow")) for _ in range(5)]
    done = [Outbox(lambda: outboxes.write("fast")) for _ in range(fast)]
    for outbox in (*slow, *done):
        flusher.add(outbox)
    await until(lambda: all(outbox.given_up for outbox in slow))
    assert not any(outbox.given_up for outbox in done)
    outboxes.takes.set()


@override_settings(ETP={"SLOW_CLIENT_TIMEOUT": 0.05})
async def test_a_write_at_once_that_outlasts_its_turn_is_watched(flusher: Flusher) -> None:
    slow, fast = [Outbox(asyncio.Event().wait) for _ in range(2)]
    assert flusher.take_turn(fast)
    fast.is_waiting = False
    await asyncio.sleep(0)
    assert flusher.take_turn(slow)
    await until(lambda: slow.given_up)
    assert not fast.given_up
