"""The way to an event loop from everywhere else: other threads, other loops.

Every wait across threads has a limit, and ends when the loop it waits on ends.
"""

import asyncio
import concurrent.futures
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from django_etp.exceptions import LayerUnavailable, SyncCallInEventLoop

from .confirmations import Confirmation

__all__ = ["arun_on", "call_on", "loop_ended", "refuse_in_event_loop", "run_on"]

_T = TypeVar("_T")

# How long a sending call may take on the other loop beyond the time it waits for others, in seconds.
_CALL_LIMIT = 10.0
# A loop can end without failing what was handed to it, so waiting threads look after it now and then.
_LOOK_AFTER_LOOP = 0.25

# What a thread does while it waits for a loop; the testing kit sets it.
while_waiting: Callable[[concurrent.futures.Future[Any], asyncio.AbstractEventLoop, float], None] | None = None


def loop_ended() -> LayerUnavailable:
    """Return what is raised where a loop has ended that others wait for."""
    return LayerUnavailable("The event loop that serves this process's connections has ended. Is the server stopping?")


def refuse_in_event_loop(name: str) -> None:
    """Raise ``SyncCallInEventLoop`` on a thread where an event loop runs: waiting there would stop that loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    # gevent and eventlet run several green threads in one of the system: the loop may be another one's, and turns while
    # this one waits.
    if getattr(loop, "_thread_id", None) not in (None, threading.get_ident()):
        return
    raise SyncCallInEventLoop(
        f"{name}() was called on a thread where an event loop runs, which it would block. Write 'await a{name}(...)'."
    )


def run_on(
    loop: asyncio.AbstractEventLoop,
    function: Callable[..., Coroutine[Any, Any, _T]],
    *args: Any,
    timeout: float = 0.0,
    is_patient: bool = False,
) -> _T:
    """Run a coroutine function on ``loop``, which runs on another thread, and return its result.

    ``timeout`` is how long, in seconds, the coroutine itself may wait for others; ``is_patient`` says that it may do so
    for as long as the loop turns, as for a client that reads slowly.

    Raises:
        LayerUnavailable: the loop ended, or did not come to it in time.
    """
    return _wait(_submit(loop, function(*args)), loop, timeout, is_patient=is_patient)


def call_on(loop: asyncio.AbstractEventLoop, function: Callable[..., Iterable[Confirmation]], *args: Any) -> None:
    """Call a plain function on ``loop``, which runs on another thread, and wait until what it returns is settled.

    It takes one turn of that loop where run_on() takes one for each step of a coroutine: so threads send.

    Raises:
        LayerUnavailable: the layer did not confirm, or the loop ended, or did not come to it in time.
    """
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    if not loop.is_running():
        raise loop_ended()
    try:
        loop.call_soon_threadsafe(_call, future, function, args)
    except RuntimeError:  # it was closed just now
        raise loop_ended() from None
    _wait(future, loop, 0.0)


def _call(future: concurrent.futures.Future[None], function: Callable[..., Iterable[Confirmation]], args: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return  # nobody waits any more
    try:
        confirmations = list(function(*args))
    except Exception as error:
        future.set_exception(error)
        return
    unsettled = len(confirmations)

    def note(error: Exception | None) -> None:
        nonlocal unsettled
        unsettled -= 1
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif not unsettled:
            future.set_result(None)

    for confirmation in confirmations:
        confirmation.notify(note)
    if not confirmations:
        future.set_result(None)


def _wait(
    future: concurrent.futures.Future[_T], loop: asyncio.AbstractEventLoop, timeout: float, *, is_patient: bool = False
) -> _T:
    deadline = time.monotonic() + timeout + _CALL_LIMIT
    if while_waiting is not None:
        while_waiting(future, loop, deadline)
    while True:
        try:
            return _result(future, _LOOK_AFTER_LOOP)
        except TimeoutError:
            if future.done():
                break
            if not loop.is_running():
                raise loop_ended() from None
            if time.monotonic() > deadline:
                if not is_patient or not _turns(loop):
                    future.cancel()
                    raise _loop_busy(timeout + _CALL_LIMIT) from None
                deadline = time.monotonic() + _CALL_LIMIT
                if while_waiting is not None:
                    while_waiting(future, loop, deadline)
    return _result(future)  # it came just now, or is a TimeoutError of its own


def _turns(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop comes to what is handed to it, in time."""
    try:
        _result(_submit(loop, asyncio.sleep(0)), _CALL_LIMIT)
    except TimeoutError:
        return False
    return True


async def arun_on(
    loop: asyncio.AbstractEventLoop,
    function: Callable[..., Coroutine[Any, Any, _T]],
    *args: Any,
    timeout: float = 0.0,
    is_patient: bool = False,
) -> _T:
    """Run a coroutine function on ``loop`` and return its result. See run_on(); here any loop may be the caller's."""
    if loop is asyncio.get_running_loop():
        return await function(*args)
    future = asyncio.wrap_future(_submit(loop, function(*args)))
    deadline = time.monotonic() + timeout + _CALL_LIMIT
    try:
        while not future.done():
            await asyncio.wait([future], timeout=_LOOK_AFTER_LOOP)
            if not future.done() and not loop.is_running():
                raise loop_ended()
            if not future.done() and time.monotonic() > deadline:
                if not is_patient or not await asyncio.to_thread(_turns, loop):
                    raise _loop_busy(timeout + _CALL_LIMIT)
                deadline = time.monotonic() + _CALL_LIMIT
    finally:
        future.cancel()  # where the caller waits no longer
    if future.cancelled():
        raise loop_ended()
    return future.result()


def _submit(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
    # A loop that only stopped takes calls for ever: daphne leaves its own so, never closed.
    with suppress(RuntimeError):
        if loop.is_running():
            return asyncio.run_coroutine_threadsafe(coroutine, loop)
    coroutine.close()
    raise loop_ended()


def _result(future: concurrent.futures.Future[_T], timeout: float | None = None) -> _T:
    try:
        return future.result(timeout)
    except concurrent.futures.CancelledError:
        raise loop_ended() from None


def _loop_busy(seconds: float) -> LayerUnavailable:
    return LayerUnavailable(
        f"The event loop that serves this process's connections did not finish the call within {seconds:g} s. "
        "Look for code that blocks it."
    )
