"""Give calls in daemon threads a limited time to finish when the process exits.

Rules kept here:

- A process that exits waits up to ``DISCONNECT_GRACE`` seconds for the unfinished calls of its executors, then for what
  has a limit of its own.
- It waits before it runs ``atexit`` callbacks, as it waits for the threads of ``ThreadPoolExecutor``. So a library that
  a running call uses, and that closes itself by ``atexit``, is still open. Children of ``multiprocessing``, which run
  no such callbacks, wait too.
- After a fork the child knows no executors of its parent.
"""

import os
import threading
from concurrent.futures import Future, wait
from typing import Any, Protocol

from django_etp.conf import get_settings

__all__ = ["finish_at_exit"]


class Unfinished(Protocol):
    """The owner of calls that a process that exits waits for."""

    def unfinished_since(self, seconds: float) -> list[Future[Any]]:
        """Return them; those that began more than ``seconds`` ago may be left out."""


_executors: list[tuple[Unfinished, float | None]] = []


def finish_at_exit(executor: Unfinished, *, limit: float | None = None) -> None:
    """Let the process wait for the executor's unfinished calls when it exits.

    It waits for ``limit`` seconds at most; by default for ``DISCONNECT_GRACE``.
    """
    _executors.append((executor, limit))
    if len(_executors) == 1:
        threading.Thread(target=_wait_at_exit, name="etp-exit").start()


def _wait_at_exit() -> None:
    # The interpreter marks the main thread as ended, and joins threads such as this one, before the atexit callbacks.
    threading.main_thread().join()
    grace = get_settings().disconnect_grace
    _wait(grace, [executor for executor, limit in _executors if limit is None])
    # Afterwards: a call may have begun it.
    for executor, limit in _executors:
        if limit is not None:
            _wait(limit, [executor])


def _wait(seconds: float, executors: list[Unfinished]) -> None:
    wait([future for executor in executors for future in executor.unfinished_since(seconds)], seconds)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executors.clear)
