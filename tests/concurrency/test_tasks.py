"""Tasks that are to end: those that swallow a cancellation, and those that never do."""

import asyncio
import contextlib

from django_etp.concurrency.tasks import end_tasks


async def hang() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_swallows_its_cancellation_is_cancelled_again() -> None:
    begun, cancelled = asyncio.Event(), 0

    async def work() -> None:
        nonlocal cancelled
        try:
            begun.set()
            await hang()
        except asyncio.CancelledError:  # as asyncio.wait_for() can, until Python 3.12
            cancelled += 1
            await hang()

    task = asyncio.create_task(work())
    await begun.wait()
    await end_tasks([task], 20.0)
    assert (task.cancelled(), cancelled) == (True, 1)


async def test_a_task_that_does_not_end_is_left_behind() -> None:
    goes_on = False

    async def work() -> None:
        while not goes_on:
            with contextlib.suppress(asyncio.CancelledError):
                await hang()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    await end_tasks([task], 0.05)
    assert not task.done()
    goes_on = True
    await end_tasks([task], 20.0)
