"""An executor whose threads are daemons, so that a call that hangs cannot hold up the end of the process.

The interpreter joins the threads of ``ThreadPoolExecutor`` at exit, however long their calls take.

Rules kept here:

- A thread is started only if no other is idle and the limit is not reached. Other calls wait, in order.
- A call may name an owner. An owner with calls in ``n`` threads gets another one only if more than ``n`` are free.
  So one owner holds half of the threads, two a third each, and a thread is left for the next owner.
- Owners whose calls wait take turns. The calls of one owner begin in order.
- An idle thread is used again, and never ends: it keeps its database connections.
- The interpreter does not wait for these threads at exit; see ``concurrency/exit.py`` for calls that may finish then.
- Threads do not survive a fork: the owner makes a new executor in the child.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from queue import SimpleQueue
from typing import Any

__all__ = ["DaemonExecutor"]


class DaemonExecutor(Executor):
    """Run calls in at most ``size`` daemon threads, whose names begin with ``name``.

    Args:
        size: the most threads.
        name: the prefix of their names.
        calls: the queue where idle threads wait for calls.

    Attributes:
        unfinished: when each call that waits or runs was submitted, on the monotonic clock, by the call's future. Other
            threads change it: copy it before iterating.
    """

    def __init__(self, size: int, name: str, calls: SimpleQueue[Any] | None = None) -> None:
        self.unfinished: dict[Future[Any], float] = {}
        self._size = size
        self._name = name
        self._calls = SimpleQueue() if calls is None else calls
        self._lock = threading.Lock()
        self._threads = 0
        # Too high after calls have waited in the queue, each of which ends without having taken an idle thread. That is
        # harmless: calls wait only if there are as many threads as are allowed.
        self._idle = 0
        # The calls of owners, in threads or on their way there, and those that wait for their owner's turn.
        self._owned: dict[object, int] = {}
        self._active = 0
        self._waiting: dict[object, deque[tuple[Future[Any], Callable[[], Any]]]] = {}

    @property
    def is_used(self) -> bool:
        """Whether a call was ever submitted."""
        return self._threads > 0

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor.submit()."""
        return self.submit_for(None, partial(function, *args, **kwargs) if args or kwargs else function)

    def submit_for(self, owner: object, call: Callable[[], Any]) -> Future[Any]:
        """Submit a call of an owner, such as the id of a connection; ``None`` is no owner, and may use all threads."""
        future: Future[Any] = Future()
        self.unfinished[future] = time.monotonic()
        with self._lock:
            if owner is not None and (owner in self._waiting or not self._may_begin(owner)):
                self._waiting.setdefault(owner, deque()).append((future, call))
            else:
                self._begin(owner, future, call)
        return future

    def _may_begin(self, owner: object) -> bool:
        return self._owned.get(owner, 0) < self._size - self._active

    def _begin(self, owner: object, future: Future[Any], call: Callable[[], Any]) -> None:
        if self._idle:
            self._idle -= 1
        elif self._threads < self._size:
            threading.Thread(target=self._work, name=f"{self._name}_{self._threads}", daemon=True).start()
            self._threads += 1
        self._active += 1
        if owner is not None:
            self._owned[owner] = self._owned.get(owner, 0) + 1
        self._calls.put((owner, future, call))

    def _end(self, owner: object) -> None:
        """Record that a call has ended, and begin calls that wait for that."""
        self._idle += 1
        self._active -= 1
        if owner is not None:
            self._owned[owner] -= 1
            if not self._owned[owner]:
                del self._owned[owner]
        while (following := next(filter(self._may_begin, self._waiting), None)) is not None:
            calls = self._waiting.pop(following)
            self._begin(following, *calls.popleft())
            if calls:
                self._waiting[following] = calls  # behind the other owners

    def unfinished_since(self, seconds: float) -> list[Future[Any]]:
        """Return the calls that a process that exits waits for: here all, however many ``seconds`` ago they began."""
        return [future for future in tuple(self.unfinished) if not future.cancelled()]

    def _work(self) -> None:
        while True:
            owner, future, call = self._calls.get()
            self._run(owner, future, call)
            self.unfinished.pop(future, None)
            # Otherwise an idle thread would keep the call's arguments alive.
            del owner, future, call

    def _run(self, owner: object, future: Future[Any], call: Callable[[], Any]) -> None:
        result: Any = None
        error: BaseException | None = None
        if is_wanted := future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as raised:
                error = raised
        # Before the result is out: its receiver may submit the next call at once, which needs no further thread.
        with self._lock:
            self._end(owner)
        if error is not None:
            future.set_exception(error)
            del future, error  # the error's traceback refers to this frame
        elif is_wanted:
            future.set_result(result)
