"""The way to an event loop from other threads and other loops."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from django_etp.concurrency import bridge
from django_etp.concurrency.bridge import arun_on, call_on, refuse_in_event_loop, run_on
from django_etp.concurrency.confirmations import Confirmation
from django_etp.exceptions import LayerUnavailable, SyncCallInEventLoop


@pytest.fixture
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
    for task in asyncio.all_tasks(loop):  # what such an end leaves behind
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        task.get_coro().close()


async def add(left: int, right: int) -> int:
    await asyncio.sleep(0)
    return left + right


async def fail(error: BaseException) -> None:
    raise error


async def hang() -> None:
    await asyncio.Event().wait()


def test_a_thread_gets_what_the_coroutine_returns(other_loop: asyncio.AbstractEventLoop) -> None:
    assert run_on(other_loop, add, 1, 2) == 3


async def test_a_coroutine_gets_what_the_other_loops_returns(other_loop: asyncio.AbstractEventLoop) -> None:
    assert await arun_on(other_loop, add, 1, 2) == 3


async def test_on_its_own_loop_a_coroutine_is_simply_awaited() -> None:
    assert await arun_on(asyncio.get_running_loop(), add, 1, 2) == 3


@pytest.mark.parametrize("error", [ValueError("why"), TimeoutError("why")])
def test_a_thread_gets_what_the_coroutine_raises(other_loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    with pytest.raises(type(error), match="why"):
        run_on(other_loop, fail, error)


@pytest.mark.parametrize("error", [ValueError("why"), TimeoutError("why")])
async def test_a_coroutine_gets_what_the_other_loops_raises(
    other_loop: asyncio.AbstractEventLoop, error: Exception
) -> None:
    with pytest.raises(type(error), match="why"):
        await arun_on(other_loop, fail, error)


def test_a_result_that_comes_as_the_thread_looks_after_the_loop_is_not_lost(
    other_loop: asyncio.AbstractEventLoop, monkeypatch: Any
) -> None:
    monkeypatch.setattr(bridge, "_CHECK_LOOP_EVERY", 0.0)
    assert [run_on(other_loop, add, number, 1) for number in range(200)] == list(range(1, 201))


def test_a_thread_does_not_wait_for_ever(other_loop: asyncio.AbstractEventLoop, monkeypatch: Any) -> None:
    monkeypatch.setattr(bridge, "_CALL_LIMIT", 0.05)
    monkeypatch.setattr(bridge, "_CHECK_LOOP_EVERY", 0.01)
    with pytest.raises(LayerUnavailable, match=r"within 0\.05 s"):
        run_on(other_loop, hang)


def test_what_a_thread_gave_up_is_not_called_later(other_loop: asyncio.AbstractEventLoop, monkeypatch: Any) -> None:
    monkeypatch.setattr(bridge, "_CALL_LIMIT", 0.05)
    monkeypatch.setattr(bridge, "_CHECK_LOOP_EVERY", 0.01)
    called: list[int] = []
    goes_on = threading.Event()
    other_loop.call_soon_threadsafe(goes_on.wait)
    with pytest.raises(LayerUnavailable, match="Look for code that blocks it"):
        call_on(other_loop, lambda: called.append(1) or [])  # type: ignore[func-returns-value]
    goes_on.set()
    assert run_on(other_loop, add, 1, 1) == 2
    assert called == []


async def test_a_coroutine_does_not_wait_for_ever(other_loop: asyncio.AbstractEventLoop, monkeypatch: Any) -> None:
    monkeypatch.setattr(bridge, "_CALL_LIMIT", 0.05)
    monkeypatch.setattr(bridge, "_CHECK_LOOP_EVERY", 0.01)
    with pytest.raises(LayerUnavailable, match=r"within 0\.05 s"):
        await arun_on(other_loop, hang)


async def take_a_while() -> str:
    await asyncio.sleep(1.3)
    return "done"


@contextlib.contextmanager
def blocked(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a loop stand still."""
    goes_on = threading.Event()
    loop.call_soon_threadsafe(goes_on.wait)
    try:
        yield
    finally:
        goes_on.set()
        # What was given up ends there before the loop does.
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), loop).result(10)


def test_a_patient_thread_waits_for_as_long_as_the_loop_turns(
    other_loop: asyncio.AbstractEventLoop, monkeypatch: Any
) -> None:
    monkeypatch.setattr(bridge, "_CALL_LIMIT", 0.5)
    assert run_on(other_loop, take_a_while, is_patient=True) == "done"
    with blocked(other_loop), pytest.raises(LayerUnavailable, match="Look for code that blocks it"):
        run_on(other_loop, hang, is_patient=True)


async def test_a_patient_coroutine_waits_for_as_long_as_the_other_loop_turns(
    other_loop: asyncio.AbstractEventLoop, monkeypatch: Any
) -> None:
    monkeypatch.setattr(bridge, "_CALL_LIMIT", 0.5)
    assert await arun_on(other_loop, take_a_while, is_patient=True) == "done"
    with blocked(other_loop), pytest.raises(LayerUnavailable, match="Look for code that blocks it"):
        await arun_on(other_loop, hang, is_patient=True)


async def test_who_is_cancelled_leaves_no_call_behind(other_loop: asyncio.AbstractEventLoop) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def hang_until_cancelled() -> None:
        begun.set()
        try:
            await hang()
        finally:
            ended.set()

    caller = asyncio.create_task(arun_on(other_loop, hang_until_cancelled))
    assert await asyncio.to_thread(begun.wait, 5)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert await asyncio.to_thread(ended.wait, 5)


class Confirmations:
    """What a function on another loop returns."""

    def __init__(self, count: int) -> None:
        self.made = [Confirmation() for _ in range(count)]
        self.are_returned = threading.Event()

    def give(self) -> list[Confirmation]:
        self.are_returned.set()
        return self.made


def test_a_call_waits_until_all_is_settled_that_the_function_returns(other_loop: asyncio.AbstractEventLoop) -> None:
    confirmations = Confirmations(2)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(call_on, other_loop, confirmations.give)
        assert confirmations.are_returned.wait(5)
        other_loop.call_soon_threadsafe(confirmations.made[1].settle)
        with pytest.raises(TimeoutError):
            call.result(0.05)
        other_loop.call_soon_threadsafe(confirmations.made[0].settle)
        assert call.result(5) is None


def test_a_call_waits_for_nothing_that_is_settled_already(other_loop: asyncio.AbstractEventLoop) -> None:
    confirmations = Confirmations(2)
    for confirmation in confirmations.made:
        confirmation.settle()
    call_on(other_loop, confirmations.give)


def test_a_call_that_starts_nothing_is_done_at_once(other_loop: asyncio.AbstractEventLoop) -> None:
    call_on(other_loop, list)


def test_a_call_raises_what_the_function_raises(other_loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(ValueError, match="'x'"):
        call_on(other_loop, int, "x")  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [ValueError("why"), TimeoutError("why")])
def test_a_call_raises_the_first_error(other_loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    confirmations = Confirmations(3)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(call_on, other_loop, confirmations.give)
        assert confirmations.are_returned.wait(5)
        other_loop.call_soon_threadsafe(confirmations.made[1].settle, error)
        with pytest.raises(type(error), match="why"):
            call.result(5)
    # The others may be settled later, in whatever way.
    confirmations.made[0].settle()
    confirmations.made[2].settle(ValueError("another"))


def test_a_call_does_not_wait_for_ever(other_loop: asyncio.AbstractEventLoop, monkeypatch: Any) -> None:
    monkeypatch.setattr(bridge, "_CALL_LIMIT", 0.05)
    monkeypatch.setattr(bridge, "_CHECK_LOOP_EVERY", 0.01)
    with pytest.raises(LayerUnavailable, match=r"within 0\.05 s"):
        call_on(other_loop, Confirmations(1).give)


def test_a_call_to_a_loop_that_has_ended_is_refused() -> None:
    loop = asyncio.new_event_loop()
    with pytest.raises(LayerUnavailable, match="has ended"):
        call_on(loop, list)
    loop.close()
    with pytest.raises(LayerUnavailable, match="has ended"):
        call_on(loop, list)


async def end_the_loop() -> None:
    """End the loop as a server's is ended that cancels nothing: it stops, and is closed."""
    loop = asyncio.get_running_loop()
    loop.stop()
    threading.Timer(0.05, loop.close).start()
    await hang()


def test_the_end_of_a_loop_ends_a_threads_wait(other_loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(LayerUnavailable, match="has ended"):
        run_on(other_loop, end_the_loop)


async def test_the_end_of_a_loop_ends_a_coroutines_wait(other_loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(LayerUnavailable, match="has ended"):
        await arun_on(other_loop, end_the_loop)


async def test_a_loop_that_has_ended_takes_nothing() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    with pytest.raises(LayerUnavailable, match="has ended"):
        await arun_on(loop, add, 1, 2)
    with pytest.raises(LayerUnavailable, match="has ended"):
        await asyncio.to_thread(run_on, loop, add, 1, 2)


async def test_a_cancelled_task_of_the_other_loop_is_an_ended_loop(other_loop: asyncio.AbstractEventLoop) -> None:
    with pytest.raises(LayerUnavailable):
        await arun_on(other_loop, fail, asyncio.CancelledError())


def test_where_no_loop_runs_a_plain_call_passes() -> None:
    refuse_in_event_loop("emit")


async def test_where_a_loop_runs_a_plain_call_is_refused() -> None:
    with pytest.raises(SyncCallInEventLoop, match=r"Write 'await aemit\(\.\.\.\)'"):
        refuse_in_event_loop("emit")


@pytest.fixture
def stopping_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs on a thread of its own until somebody stops it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    thread.join()
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.wait(tasks))
    loop.close()


async def stop_and_hang() -> None:
    """What daphne does with its loop: it stops, with tasks left, and is never closed."""
    loop = asyncio.get_running_loop()
    loop.call_soon(loop.stop)
    await loop.create_future()


def test_a_thread_does_not_wait_for_a_loop_that_stopped(stopping_loop: asyncio.AbstractEventLoop) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(LayerUnavailable, match="has ended"):
        pool.submit(run_on, stopping_loop, stop_and_hang).result(5)


async def test_anstopping_loop_does_not_wait_for_a_loop_that_stopped(stopping_loop: asyncio.AbstractEventLoop) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(LayerUnavailable, match="has ended"):
            await arun_on(stopping_loop, stop_and_hang)


def test_a_call_to_a_loop_that_has_stopped_is_refused_at_once() -> None:
    loop = asyncio.new_event_loop()
    try:
        with ThreadPoolExecutor(1) as pool, pytest.raises(LayerUnavailable, match="has ended"):
            pool.submit(run_on, loop, asyncio.sleep, 0).result(0.2)
    finally:
        loop.close()
