"""Daemon threads for calls: bounded, made on demand, used again, and no reason for a process to live on."""

import asyncio
import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future, wait
from functools import partial
from typing import Any

import pytest

from django_etp.concurrency.executor import DaemonExecutor
from tests.support.servers import ROOT

LIMIT = 10.0


@pytest.fixture
def door() -> Iterator[threading.Event]:
    door = threading.Event()
    yield door
    door.set()


def occupy(executor: DaemonExecutor, door: threading.Event) -> Future[bool]:
    """Have one of its threads wait at the door; return once it does."""
    is_inside = threading.Event()

    def stay() -> bool:
        is_inside.set()
        return door.wait(LIMIT)

    future = executor.submit(stay)
    assert is_inside.wait(LIMIT)
    return future


def test_a_call_gets_its_arguments_and_returns() -> None:
    assert DaemonExecutor(1, "test").submit(int, "7", base=8).result(LIMIT) == 7


def test_a_call_raises_what_it_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        DaemonExecutor(1, "test").submit(divmod, 1, 0).result(LIMIT)


def test_its_threads_are_named_daemons() -> None:
    thread = DaemonExecutor(1, "etp-test").submit(threading.current_thread).result(LIMIT)
    assert thread.name.startswith("etp-test")
    assert thread.daemon


def test_it_is_used_once_a_call_was_submitted() -> None:
    executor = DaemonExecutor(1, "test")
    assert not executor.is_used
    executor.submit(int).result(LIMIT)
    assert executor.is_used


def test_a_thread_starts_while_no_other_is_idle(door: threading.Event) -> None:
    executor = DaemonExecutor(2, "test")
    staying = occupy(executor, door)
    assert executor.submit(int, "7").result(LIMIT) == 7
    assert not staying.done()


def test_an_idle_thread_is_used_again() -> None:
    executor = DaemonExecutor(8, "test")
    assert len({executor.submit(threading.get_ident).result(LIMIT) for _ in range(100)}) == 1


def test_calls_above_the_limit_wait_in_order(door: threading.Event) -> None:
    executor = DaemonExecutor(1, "test")
    occupy(executor, door)
    order: list[int] = []
    futures = [executor.submit(order.append, number) for number in range(20)]
    assert not order
    door.set()
    assert not wait(futures, LIMIT).not_done
    assert order == list(range(20))


def test_many_threads_may_submit() -> None:
    executor = DaemonExecutor(3, "test")
    numbers: list[int] = []
    done: list[Future[None]] = []

    def submit() -> None:
        done.extend([executor.submit(numbers.append, number) for number in range(200)])

    threads = [threading.Thread(target=submit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert not wait(done, LIMIT).not_done
    assert len(numbers) == 800


def test_a_call_cancelled_while_it_waits_does_not_run(door: threading.Event) -> None:
    executor = DaemonExecutor(1, "test")
    occupy(executor, door)
    ran: list[int] = []
    future = executor.submit(ran.append, 1)
    assert future.cancel()
    door.set()
    executor.submit(int).result(LIMIT)
    assert not ran


def test_unfinished_calls_are_those_that_run_or_wait(door: threading.Event) -> None:
    executor = DaemonExecutor(1, "test")
    running = occupy(executor, door)
    waiting = executor.submit(int)
    assert set(executor.unfinished) == {running, waiting}
    door.set()
    last = executor.submit(int)
    last.result(LIMIT)
    assert set(executor.unfinished) <= {last}


class Thing:
    """Something to refer to."""

    def fail(self) -> None:
        raise ZeroDivisionError


def test_an_idle_thread_keeps_nothing_of_its_last_call() -> None:
    executor = DaemonExecutor(1, "test")
    thing = Thing()
    reference = weakref.ref(thing)
    future: Future[Any] | None = executor.submit(thing.fail)
    assert future is not None
    assert isinstance(future.exception(LIMIT), ZeroDivisionError)
    del thing, future
    executor.submit(int).result(LIMIT)  # by now the thread has dropped the call before
    gc.disable()  # no cycle holds it either
    try:
        assert reference() is None
    finally:
        gc.enable()


async def test_an_event_loop_runs_calls_in_it() -> None:
    assert await asyncio.get_running_loop().run_in_executor(DaemonExecutor(1, "test"), int, "7") == 7


def test_a_process_ends_though_a_call_hangs() -> None:
    program = """
import threading
from django_etp.concurrency.executor import DaemonExecutor
begun = threading.Event()
DaemonExecutor(1, "test").submit(lambda: (begun.set(), threading.Event().wait(3600)))
begun.wait(10)
print("the end")
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")


# Owners


def stay(executor: DaemonExecutor, owner: object, door: threading.Event, inside: list[object]) -> Future[Any]:
    return executor.submit_for(owner, lambda: (inside.append(owner), door.wait(LIMIT)))


@pytest.mark.parametrize(("size", "share"), [(1, 1), (2, 1), (4, 2), (8, 4)])
def test_one_owner_holds_at_most_half_of_the_threads(door: threading.Event, size: int, share: int) -> None:
    executor, inside = DaemonExecutor(size, "test"), list[object]()
    calls = [stay(executor, "greedy", door, inside) for _ in range(50)]
    if size > 1:
        assert executor.submit_for("other", int).result(LIMIT) == 0
    assert len([call for call in calls if call.running()]) <= share
    door.set()
    assert not wait(calls, LIMIT).not_done


def test_several_greedy_owners_leave_a_thread_for_another(door: threading.Event) -> None:
    executor, inside = DaemonExecutor(8, "test"), list[object]()
    calls = [stay(executor, owner, door, inside) for _ in range(20) for owner in range(7)]
    assert executor.submit_for("other", int).result(LIMIT) == 0
    door.set()
    assert not wait(calls, LIMIT).not_done


def test_owners_take_turns_and_keep_their_order(door: threading.Event) -> None:
    executor, order = DaemonExecutor(1, "test"), list[tuple[str, int]]()
    occupy(executor, door)
    calls = [
        executor.submit_for(owner, partial(order.append, (owner, number))) for owner in "ab" for number in range(3)
    ]
    assert not order
    door.set()
    assert not wait(calls, LIMIT).not_done
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    assert not executor._owned
