"""Send the events of a transaction in the background of the thread that committed it.

Rules kept here:

- The committing thread waits for the channel layer for less than 0.1 s, and not at all if other tasks share the thread.
- Nothing is raised after a commit. A failure is reported to ``on_error``, which logs it.
- The batches that wait are bounded; one that is over the limit is lost, and reported.
- A process that ends waits up to 3 s for its batches. After a fork the child has none.
"""

import asyncio
import os
import threading
from concurrent.futures import Future
from typing import Any

from django_etp.cluster import tracing
from django_etp.concurrency.bridge import loop_ended
from django_etp.concurrency.database import serves_others
from django_etp.concurrency.exit import finish_at_exit
from django_etp.exceptions import LayerUnavailable
from django_etp.hub.batches import Send
from django_etp.hub.hub import Hub
from django_etp.hub.process import log_no_recipients, process_hub

from .batch import Batch
from .losses import report_lost

__all__ = ["batch_under_way", "finish_batches", "send_in_background"]

# How long a thread waits after its commit, and a process at its exit, in seconds.
_COMMIT_LIMIT = 0.08
_EXIT_LIMIT = 3.0
# The limits of the batches that wait, in events and in characters. One batch may be larger.
_MAX_EVENTS = 10_000
_MAX_SIZE = 16 * 1024 * 1024


class _UnderWay:
    """The batches of this process that are not over."""

    def __init__(self) -> None:
        self._batches: dict[Batch, tuple[int, int]] = {}
        self._events = self._size = 0
        self._lock = threading.Lock()
        self._is_known_at_exit = False

    def add(self, batch: Batch) -> None:
        """Record a batch.

        Raises:
            LayerUnavailable: too much waits already.
        """
        events, size = len(batch.sends), batch.size
        with self._lock:
            if self._batches and (self._events + events > _MAX_EVENTS or self._size + size > _MAX_SIZE):
                raise LayerUnavailable(
                    f"{self._events:,} events of earlier transactions wait: the channel layer is down, or slower than "
                    "this process sends."
                )
            self._batches[batch] = events, size
            self._events += events
            self._size += size
            is_first, self._is_known_at_exit = not self._is_known_at_exit, True
        if is_first:
            finish_at_exit(self, limit=_EXIT_LIMIT)

    def remove(self, batch: Batch) -> None:
        """Record that a batch is over."""
        with self._lock:
            events, size = self._batches.pop(batch, (0, 0))
            self._events -= events
            self._size -= size

    def of(self, hub: Hub) -> list[Future[None]]:
        """Return futures that are done when the batches of a hub are over."""
        return [batch.over for batch in tuple(self._batches) if batch.hub is hub]

    def unfinished_since(self, seconds: float) -> list[Future[Any]]:
        """Return what a process that exits waits for: the batches whose event loop still runs."""
        return [batch.over for batch in tuple(self._batches) if batch.hub.loop.is_running()]


class _Line(threading.local):
    """The last batch of a thread."""

    last: Batch | None = None


_line = _Line()
_under_way = _UnderWay()


def send_in_background(sends: list[Send]) -> None:
    """Send the events of a transaction; wait for the layer for a moment if this thread may. This raises nothing."""
    hub: Hub | None = None
    try:
        if (hub := process_hub()) is None:
            log_no_recipients()
        else:
            _begin(hub, sends)
    except Exception as error:
        report_lost(hub, sends, error)


def batch_under_way(hub: Hub) -> Batch | None:
    """Return this thread's last batch if it is on its way through a hub."""
    last = _line.last
    if last is None:
        return None
    if last.over.done() or last.hub is not hub:
        _line.last = None
        return None
    return last


async def finish_batches(hub: Hub) -> None:
    """Wait until the batches of a hub whose server ends are over, for 3 s at most; on the hub's event loop."""
    if unfinished := [asyncio.wrap_future(future) for future in _under_way.of(hub)]:
        await asyncio.wait(unfinished, timeout=_EXIT_LIMIT)


def _begin(hub: Hub, sends: list[Send]) -> None:
    if not hub.loop.is_running():  # daphne stops its loop, and never closes it
        raise loop_ended()
    batch = Batch(hub, sends, batch_under_way(hub), _end)
    _under_way.add(batch)
    try:
        context = hub.context.copy()
        if tracing.tracer is not None:
            tracing.tracer.carry(context)
        hub.loop.call_soon_threadsafe(batch.begin, context=context)
    except RuntimeError:  # it was closed just now
        _under_way.remove(batch)
        raise loop_ended() from None
    _line.last = batch
    if not (_runs_event_loop() or serves_others()):
        batch.wait_until_over(_COMMIT_LIMIT)


def _end(batch: Batch, error: Exception | None) -> None:
    _under_way.remove(batch)
    if error is not None:
        report_lost(batch.hub, batch.sends, error)


def _runs_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _forget_all() -> None:
    global _under_way
    _line.last = None
    _under_way = _UnderWay()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
