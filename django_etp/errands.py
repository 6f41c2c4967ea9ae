"""What the one thread does, while it waits, where a test runs all that is synchronous in it.

That thread holds the test's database connection. A plain handler or a view that waits there, in ``rooms.update_data()``
say, waits for the event loop, which may need the same thread to write a session: both would wait for ever. So the loop
leaves its errands where the thread finds them, when it is free or while it waits.
"""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import sync_to_async

__all__ = ["do_errands_until", "run_errand"]

# A loop can end without a word, so the thread that waits for it looks after it now and then, in seconds.
_LOOK_AFTER_LOOP = 0.25


@dataclass(frozen=True, slots=True)
class _Errand:
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
_Errands = SimpleQueue[_Errand | None]

_errands: WeakKeyDictionary[asyncio.AbstractEventLoop, _Errands] = WeakKeyDictionary()
_lock = threading.Lock()


async def run_errand(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function in the thread where asgiref runs what is synchronous, and return what it returns."""
    loop = asyncio.get_running_loop()
    errands = _errands_of(loop)
    errand = _Errand(partial(function, *args))
    errands.put(errand)
    # In a context of its own: called for by a thread that waits, asgiref would refuse, to prevent a deadlock.
    visit = loop.create_task(sync_to_async(_do_one)(errands), context=contextvars.Context())
    visit.add_done_callback(lambda visit: _give_up(errand, visit))
    return await asyncio.wrap_future(errand.outcome)


def do_errands_until(future: Future[Any], loop: asyncio.AbstractEventLoop, deadline: float) -> None:
    """Do the errands of an event loop, on this thread, until a future is done, the loop stops, or time is up."""
    errands = _errands_of(loop)
    future.add_done_callback(lambda _: errands.put(None))
    while not future.done() and loop.is_running() and (left := deadline - time.monotonic()) > 0:
        with suppress(Empty):
            if errand := errands.get(timeout=min(left, _LOOK_AFTER_LOOP)):
                errand.run()


def _do_one(errands: _Errands) -> None:
    with suppress(Empty):
        while (errand := errands.get_nowait()) is None:
            pass
        errand.run()


def _give_up(errand: _Errand, visit: asyncio.Task[None]) -> None:
    # The thread is gone, with the synchronous test that waited for the loop there.
    if visit.cancelled() or visit.exception() is not None:
        errand.outcome.cancel()


def _errands_of(loop: asyncio.AbstractEventLoop) -> _Errands:
    with _lock:
        return _errands.setdefault(loop, SimpleQueue())
