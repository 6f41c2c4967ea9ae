"""The end of the running task, told from a failure."""

import asyncio

import pytest

from django_etp.cancellation import must_pass


class Panic(BaseException):
    """A failure that is not an Exception, as a Rust extension raises."""


@pytest.mark.parametrize("error", [GeneratorExit(), KeyboardInterrupt()], ids=lambda error: type(error).__name__)
async def test_the_end_of_a_coroutine_or_of_the_process_must_pass(error: BaseException) -> None:
    assert must_pass(error)


@pytest.mark.parametrize("error", [LookupError(), Panic(), SystemExit()], ids=lambda error: type(error).__name__)
async def test_other_errors_are_failures(error: BaseException) -> None:
    assert not must_pass(error)


async def test_the_cancellation_of_the_running_task_must_pass() -> None:
    async def work() -> bool:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            return must_pass(error)
        return False

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    assert await task


async def test_the_cancellation_of_an_awaited_future_is_a_failure() -> None:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await future
    assert not must_pass(raised.value)


async def test_a_cancellation_outside_of_tasks_is_a_failure() -> None:
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: outcome.set_result(must_pass(asyncio.CancelledError())))
    assert await outcome is False
