"""What the one thread does, while it waits, where a test runs all that is synchronous in it.

That thread holds the test's database connection. A plain handler or a view that waits there, in ``rooms.update_data()``
say, waits for the event loop, which may need the same thread to write a session: both would wait for ever. So the loop
leaves its calls where the thread finds them, when it is free or while it waits.
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

# A loop can end without a word, so the thread that waits for it looks after it now and then, in seconds.
_LOOK_AFTER_LOOP = 0.25


@dataclass(frozen=True, slots=True)
class _Call:
    """A call that is to be made, in the context of the one who wants it."""

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


# None wakes up who waits for one.
_Calls = SimpleQueue[_Call | None]

_calls: WeakKeyDictionary[asyncio.AbstractEventLoop, _Calls] = WeakKeyDictionary()
_lock = threading.Lock()


def thread_sensitive() -> AbstractContextManager[None]:
    """Let plain functions started inside run where the caller's ORM runs, on its database connection."""
    return workers.run_by(_run_in_test_thread)


async def _run_in_test_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function in the thread where asgiref runs what is synchronous, and return what it returns."""
    loop = asyncio.get_running_loop()
    calls = _calls_of(loop)
    call = _Call(partial(function, *args))
    calls.put(call)
    # In a context of its own: called for by a thread that waits, asgiref would refuse, to prevent a deadlock.
    visit = loop.create_task(sync_to_async(_do_one)(calls), context=contextvars.Context())
    visit.add_done_callback(lambda visit: _give_up(call, visit))
    return await asyncio.wrap_future(call.outcome)


def _run_calls_until(future: Future[Any], loop: asyncio.AbstractEventLoop, deadline: float) -> None:
    """Do the calls of an event loop until a future is done, the loop stops, or time is up; on a test's thread alone."""
    if not is_borrowing():
        return
    calls = _calls_of(loop)
    future.add_done_callback(lambda _: calls.put(None))
    while not future.done() and loop.is_running() and (left := deadline - time.monotonic()) > 0:
        with suppress(Empty):
            if call := calls.get(timeout=min(left, _LOOK_AFTER_LOOP)):
                call.run()


def _do_one(calls: _Calls) -> None:
    with suppress(Empty):
        while (call := calls.get_nowait()) is None:
            pass
        call.run()


def _give_up(call: _Call, visit: asyncio.Task[None]) -> None:
    # The thread is gone, with the synchronous test that waited for the loop there.
    if visit.cancelled() or visit.exception() is not None:
        call.outcome.cancel()


def _calls_of(loop: asyncio.AbstractEventLoop) -> _Calls:
    with _lock:
        return _calls.setdefault(loop, SimpleQueue())


bridge.while_waiting = _run_calls_until
