"""Give calls in daemon threads a limited time to finish when the process exits.

Rules kept here:

- A process that exits waits up to ``DISCONNECT_GRACE`` seconds for the unfinished calls of its executors.
- It waits before it runs ``atexit`` callbacks, as it waits for the threads of ``ThreadPoolExecutor``. So a library that
  a running call uses, and that closes itself by ``atexit``, is still open. Children of ``multiprocessing``, which run
  no such callbacks, wait too.
- After a fork the child knows no executors of its parent.
"""

import os
import threading
from concurrent.futures import wait

from django_etp.conf import get_settings

from .executor import DaemonExecutor

__all__ = ["finish_at_exit"]

_executors: list[DaemonExecutor] = []


def finish_at_exit(executor: DaemonExecutor) -> None:
    """Let the process wait for the executor's unfinished calls when it exits."""
    _executors.append(executor)
    if len(_executors) == 1:
        threading.Thread(target=_wait_at_exit, name="etp-exit").start()


def _wait_at_exit() -> None:
    # The interpreter marks the main thread as ended, and joins threads such as this one, before the atexit callbacks.
    threading.main_thread().join()
    grace = get_settings().disconnect_grace
    wait([future for executor in _executors for future in executor.unfinished_since(grace)], grace)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executors.clear)
