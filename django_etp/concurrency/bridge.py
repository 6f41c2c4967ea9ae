"""Call an event loop from other threads and other loops.

Every wait across threads has a limit, and ends if the loop that it waits for ends.
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

__all__ = ["arun_on", "call_on", "loop_ended", "not_confirmed", "refuse_in_event_loop", "run_on"]

_T = TypeVar("_T")

# How long a call may take on the other loop, beyond the time that it may wait there, in seconds.
_CALL_LIMIT = 10.0
# A loop can end without failing the calls that were submitted to it. So threads that wait check it, this often.
_CHECK_LOOP_EVERY = 0.25

# Called in a thread that begins to wait for a loop. The testing kit sets it.
while_waiting: Callable[[concurrent.futures.Future[Any], asyncio.AbstractEventLoop, float], None] | None = None


def loop_ended() -> LayerUnavailable:
    """Return the error for callers of a loop that has ended."""
    return LayerUnavailable("The event loop that serves this process's connections has ended. Is the server stopping?")


def not_confirmed(timeout: float) -> LayerUnavailable:
    """Return the error for a caller whose own ``timeout``, in seconds, is over before the layer has confirmed."""
    return LayerUnavailable(
        f"The channel layer did not confirm a send within the timeout of {timeout:g} s. Other processes may still get "
        "the event."
    )


def refuse_in_event_loop(name: str) -> None:
    """Raise ``SyncCallInEventLoop`` on a thread that runs an event loop: a wait would block the loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    # gevent and eventlet run several green threads in one thread of the system. The loop may belong to another green
    # thread, and then runs on while this one waits.
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

    Args:
        timeout: how long the coroutine itself may wait, in seconds.
        is_patient: let it wait for as long as the loop turns, as for a client that reads slowly.

    Raises:
        LayerUnavailable: the loop ended, or did not finish the call in time.
    """
    return _wait(_submit(loop, function(*args)), loop, timeout, is_patient=is_patient)


def call_on(
    loop: asyncio.AbstractEventLoop,
    function: Callable[..., Iterable[Confirmation]],
    *args: Any,
    timeout: float | None = None,
) -> None:
    """Call a plain function on ``loop``, which runs on another thread, and wait until its confirmations are settled.

    Threads send this way: it takes one turn of that loop, and run_on() one turn for each step of a coroutine. With a
    ``timeout``, in seconds, the wait ends then, and the call goes on.

    Raises:
        LayerUnavailable: the layer did not confirm, or the loop ended, or did not finish the call in time.
    """
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    if not loop.is_running():
        raise loop_ended()
    try:
        loop.call_soon_threadsafe(_call, future, function, args)
    except RuntimeError:  # it was closed just now
        raise loop_ended() from None
    if timeout is None:
        _wait(future, loop, 0.0)
    else:
        _wait_briefly(future, loop, timeout)


def _call(future: concurrent.futures.Future[None], function: Callable[..., Iterable[Confirmation]], args: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return  # the caller has given up
    try:
        confirmations = list(function(*args))
    except Exception as error:
        future.set_exception(error)
        return
    unsettled = len(confirmations)

    def record(error: Exception | None) -> None:
        nonlocal unsettled
        unsettled -= 1
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        elif not unsettled:
            future.set_result(None)

    for confirmation in confirmations:
        confirmation.notify(record)
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
            return _result(future, _CHECK_LOOP_EVERY)
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
    return _result(future)  # done just now, or the call itself raised a TimeoutError


def _wait_briefly(future: concurrent.futures.Future[None], loop: asyncio.AbstractEventLoop, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    if while_waiting is not None:
        while_waiting(future, loop, deadline)
    while not future.done():
        left = deadline - time.monotonic()
        if left <= 0:
            raise not_confirmed(timeout)
        if not loop.is_running():
            raise loop_ended()
        with suppress(TimeoutError):
            future.exception(min(left, _CHECK_LOOP_EVERY))
    _result(future)


def _turns(loop: asyncio.AbstractEventLoop) -> bool:
    """Return whether a loop makes a call in time."""
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
    """Run a coroutine function on ``loop`` and return its result. See run_on(); ``loop`` may be the running one."""
    if loop is asyncio.get_running_loop():
        return await function(*args)
    future = asyncio.wrap_future(_submit(loop, function(*args)))
    deadline = time.monotonic() + timeout + _CALL_LIMIT
    try:
        while not future.done():
            await asyncio.wait([future], timeout=_CHECK_LOOP_EVERY)
            if not future.done() and not loop.is_running():
                raise loop_ended()
            if not future.done() and time.monotonic() > deadline:
                if not is_patient or not await asyncio.to_thread(_turns, loop):
                    raise _loop_busy(timeout + _CALL_LIMIT)
                deadline = time.monotonic() + _CALL_LIMIT
    finally:
        future.cancel()  # does something only if the caller has given up
    if future.cancelled():
        raise loop_ended()
    return future.result()


def _submit(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, _T]) -> concurrent.futures.Future[_T]:
    # A loop that is stopped but not closed accepts calls and never makes them. daphne leaves its loop like that.
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
