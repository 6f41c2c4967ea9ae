"""The way to an event loop from other threads and loops."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from django_etp.exceptions import LayerUnavailable
from django_etp.loops import arun_on, run_on


@pytest.fixture
def other_loop() -> Iterator[asyncio.AbstractEventLoop]:
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


def test_a_thread_does_not_wait_for_a_loop_that_stopped(other_loop: asyncio.AbstractEventLoop) -> None:
    with ThreadPoolExecutor(1) as pool, pytest.raises(LayerUnavailable, match="has ended"):
        pool.submit(run_on, other_loop, stop_and_hang).result(5)


async def test_another_loop_does_not_wait_for_a_loop_that_stopped(other_loop: asyncio.AbstractEventLoop) -> None:
    async with asyncio.timeout(5):
        with pytest.raises(LayerUnavailable, match="has ended"):
            await arun_on(other_loop, stop_and_hang)


def test_a_call_to_a_loop_that_has_stopped_is_refused_at_once() -> None:
    loop = asyncio.new_event_loop()
    try:
        with ThreadPoolExecutor(1) as pool, pytest.raises(LayerUnavailable, match="has ended"):
            pool.submit(run_on, loop, asyncio.sleep, 0).result(0.2)
    finally:
        loop.close()
