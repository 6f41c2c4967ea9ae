"""Checks that may hang, and their outcome within a limited time.

Rules kept here:

- A check runs in a daemon thread of its own. One that hangs delays neither requests nor the end of the process.
- Requests that arrive while a check runs share it, so that frequent requests are no load.
- A check that has hung for 5 s no longer holds up a new one, so that the outcome is right soon after an outage. At most
  8 threads hang at a time.
- A failure is logged once a minute. The outcome itself names no hosts and no users, since anyone may read it.
"""

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

from django_etp.exceptions import describe

__all__ = ["OK", "Check"]

logger = logging.getLogger(__name__)

OK = "ok"

# In seconds.
_LIMIT = 0.7
_HANGS_AFTER = 5.0
_LOG_EVERY = 60.0
_MOST_HANGING = 8


@dataclass(frozen=True, slots=True)
class _Run:
    """One run of a check."""

    started_at: float
    future: Future[None]


class Check:
    """A check of one thing that this process depends on.

    Args:
        name: names it in the log.
        function: returns if the thing answers, and raises if it does not. It may hang.
    """

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self._name = name
        self._function = function
        self._runs: list[_Run] = []
        self._lock = threading.Lock()
        self._logged_at: float | None = None
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget_runs)

    async def outcome(self) -> str:
        """Return ``OK``, or a few words on what is wrong, within a second."""
        future = asyncio.wrap_future(self._run())
        await asyncio.wait([future], timeout=_LIMIT)
        if not future.done():
            future.cancel()  # the thread goes on
            self._log(f"no answer within {_LIMIT:g} s")
            return f"no answer within {_LIMIT:g} s"
        if (error := future.exception()) is not None:
            self._log(describe(error))
            return f"failed with {type(error).__name__}"
        return OK

    def _run(self) -> Future[None]:
        """Return the run that goes on, or begin one."""
        now = time.monotonic()
        with self._lock:
            self._runs = [run for run in self._runs if not run.future.done()]
            is_fresh = bool(self._runs) and now - self._runs[-1].started_at < _HANGS_AFTER
            if not is_fresh and len(self._runs) < _MOST_HANGING:
                self._runs.append(_Run(now, self._begin()))
            return self._runs[-1].future

    def _begin(self) -> Future[None]:
        future: Future[None] = Future()
        future.set_running_or_notify_cancel()  # a request that gives up does not cancel it for others

        def run() -> None:
            try:
                self._function()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(None)

        threading.Thread(target=run, name="etp-health", daemon=True).start()
        return future

    def _log(self, problem: str) -> None:
        now = time.monotonic()
        if self._logged_at is None or now - self._logged_at >= _LOG_EVERY:
            self._logged_at = now
            logger.warning("This process is not ready, because of its %s: %s.", self._name, problem)

    def _forget_runs(self) -> None:
        # A forked child has none of its parent's threads, and one of those may have held the lock.
        self._runs = []
        self._lock = threading.Lock()
