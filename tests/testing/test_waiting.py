"""Plain functions in the one thread where a test's ORM runs."""

import asyncio
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from django_etp.concurrency.workers import run_handler, run_hook
from django_etp.testing.waiting import thread_sensitive


async def stop_iteration_in(run: Any) -> RuntimeError:
    """Run a function that takes the next of what has none, and return what comes of it."""
    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="A plain function raised StopIteration") as raised:
            await run(next, iter(()))
    assert isinstance(raised.value.__cause__, StopIteration)
    return raised.value


async def test_thread_sensitive_functions_run_where_the_orm_runs() -> None:
    with thread_sensitive():
        mine = await run_handler(threading.get_ident)
        hooks = await run_hook(threading.get_ident)
    assert mine == hooks == await sync_to_async(threading.get_ident)()


@pytest.mark.parametrize("run", [run_handler, run_hook])
async def test_a_stop_iteration_is_raised_as_another_error_there(run: Any) -> None:
    with thread_sensitive():
        await stop_iteration_in(run)


async def test_the_mode_ends_with_its_block() -> None:
    with thread_sensitive():
        pass
    assert (await run_handler(lambda: threading.current_thread().name)).startswith("etp-handler")
