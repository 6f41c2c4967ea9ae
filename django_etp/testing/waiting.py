"""Run queued calls on a test's only thread while that thread is blocked.

asgiref runs all synchronous functions of a test in one thread, which holds the test's database connection. A plain
handler or a view that blocks there, as in ``rooms.update_data()``, waits for the event loop, which may need the same
thread to write a session: both would wait for ever. So the loop queues its calls, and the thread runs them when it is
free or while it waits.
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

from django_etp.concurrency import bridge, workers

from .database import is_borrowing

__all__ = ["thread_sensitive"]

# A loop can stop without completing the future, so the waiting thread checks it this often, in seconds.
_LOOP_CHECK_INTERVAL = 0.25


@dataclass(frozen=True, slots=True)
class _Call:
    """A queued call, and the context of its caller to run it in."""

    call: Callable[[], Any]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    outcome: Future[Any] = field(default_factory=Future)

    def run(self) -> None:
        if not self.outcome.set_running_or_notify_cancel():
            return
        try:
            self.outcome.set_result(self.context.run(self.call))
        except BaseException as error:
            self.outcome.set_exception(error)


# None wakes up a thread that waits for a call.
_Calls = SimpleQueue[_Call | None]

_calls: WeakKeyDictionary[asyncio.AbstractEventLoop, _Calls] = WeakKeyDictionary()
_lock = threading.Lock()


def thread_sensitive() -> AbstractContextManager[None]:
    """Let plain functions started inside run in the thread of the caller's ORM, on its database connection."""
    return workers.run_by(_run_in_test_thread)


async def _run_in_test_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function in the thread where asgiref runs synchronous functions; return its result."""
    loop = asyncio.get_running_loop()
    calls = _calls_of(loop)
    call = _Call(partial(function, *args))
    calls.put(call)
    # In a new context: if a blocked thread asked for the call, asgiref would refuse it, to prevent a deadlock.
    running = loop.create_task(sync_to_async(_run_next)(calls), context=contextvars.Context())
    running.add_done_callback(lambda running: _cancel_if_not_run(call, running))
    return await asyncio.wrap_future(call.outcome)


def _run_calls_until(future: Future[Any], loop: asyncio.AbstractEventLoop, deadline: float) -> None:
    """Run the calls of an event loop until a future is done, the loop stops, or time is up; only on a test's thread."""
    if not is_borrowing():
        return
    calls = _calls_of(loop)
    future.add_done_callback(lambda _: calls.put(None))
    while not future.done() and loop.is_running() and (left := deadline - time.monotonic()) > 0:
        with suppress(Empty):
            if call := calls.get(timeout=min(left, _LOOP_CHECK_INTERVAL)):
                call.run()


def _run_next(calls: _Calls) -> None:
    with suppress(Empty):
        while (call := calls.get_nowait()) is None:
            pass
        call.run()


def _cancel_if_not_run(call: _Call, running: asyncio.Task[None]) -> None:
    # The thread has ended, with the synchronous test that ran the loop there.
    if running.cancelled() or running.exception() is not None:
        call.outcome.cancel()


def _calls_of(loop: asyncio.AbstractEventLoop) -> _Calls:
    with _lock:
        return _calls.setdefault(loop, SimpleQueue())


bridge.while_waiting = _run_calls_until
