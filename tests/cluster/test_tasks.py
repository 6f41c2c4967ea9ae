"""The tasks of one node."""

import asyncio
import logging

import pytest

from django_etp.cluster.tasks import Tasks, bounded


async def test_a_task_runs_beside_its_caller_and_is_forgotten():
    tasks, done = Tasks(), asyncio.Event()

    async def work() -> None:
        done.set()

    await tasks.run(work())
    assert done.is_set()
    await asyncio.sleep(0)
    assert not vars(tasks)["_running"]


async def test_tasks_end_when_they_are_cancelled():
    tasks = Tasks()
    running = [tasks.run(asyncio.sleep(60)) for _ in "12"]
    await asyncio.sleep(0)
    tasks.cancel()
    await asyncio.wait(running, timeout=5)
    assert all(task.cancelled() for task in running)


async def test_a_failure_is_logged_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise OSError("down")

    caplog.set_level(logging.DEBUG, "django_etp")
    await asyncio.wait([Tasks().run(fail())])
    await asyncio.sleep(0)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
    assert "down" in caplog.text


async def test_a_step_of_the_end_is_bounded_and_may_fail():
    async def fail() -> None:
        raise OSError("gone")

    done = []

    async def work() -> None:
        done.append(1)

    async with asyncio.timeout(5):
        await bounded(asyncio.sleep(60), 0.01)
        await bounded(fail(), 1)
        await bounded(work(), 1)
    assert done == [1]
