"""The hubs of this process: one for each event loop that serves connections, or a background hub.

Rules kept here:

- A hub belongs to the loop that runs its consumers, and is made there.
- A process that serves no connections (WSGI, Celery, commands) has a background hub: it only sends and asks, on the
  event loop of a daemon thread, and is made on first use. If a serving hub appears later, new calls go to that. The
  background hub then ends: once its queries have been answered, it sends its last numbers.
- After a fork the child makes all of this anew, and never closes what it inherited.
- If a server ends, its hub leaves the others: with its last connection (uvicorn), before the reactor stops (daphne), or
  when the loop cancels its tasks (``asyncio.run``).
"""

import asyncio
import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import cache
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers

from django_etp.concurrency.tasks import end_tasks
from django_etp.conf import get_settings
from django_etp.history import memory

from . import histories
from .hub import Hub
from .queries import answer

__all__ = ["log_no_recipients", "process_hub", "serving_hub"]

logger = logging.getLogger(__name__)

_STOP_LIMIT = 7.0
_END_LIMIT = 1.0
# How long a call may take from choosing a hub to reaching it, in seconds.
_LATE_CALL = 1.0

# Reports errors of the channel layer in a process without connections. The app sets it.
report: Callable[[str, Exception], Coroutine[Any, Any, None]] | None = None

_serving: dict[asyncio.AbstractEventLoop, Hub] = {}
_background: "_BackgroundHub | None" = None
_retiring: list["_BackgroundHub"] = []
_lock = threading.Lock()
# The objects that a child has from its parent. If they were collected, they would close the parent's sockets.
_inherited: list[Any] = []


def serving_hub() -> Hub:
    """Return the hub of the running loop, made on first use."""
    loop = asyncio.get_running_loop()
    hub = _serving.get(loop)
    if hub is None:
        _forget_ended()
        hub = _serving[loop] = Hub(loop, answer, is_serving=True)
        _stop_with_reactor(hub)
        _retire_background()
    return hub


def process_hub() -> Hub | None:
    """Return the hub that this process sends and asks with; ``None`` if it could reach no connection.

    If several loops serve connections, it is the hub of the running loop, else the newest of a loop that runs. A loop
    that does not run, as a test runner's between two tests, can send nothing.
    """
    global _background
    with suppress(RuntimeError):
        if hub := _serving.get(asyncio.get_running_loop()):
            return hub
    for loop, hub in reversed(list(_serving.items())):
        if loop.is_running():
            return hub
    _forget_ended()
    if (background := _background) is not None:  # the layer spans processes then, and to look it up takes time
        return background.hub
    alias = get_settings().channel_layer
    spans_processes = alias in channel_layers and not isinstance(channel_layers[alias], InMemoryChannelLayer)
    if not spans_processes and histories.limits_of is None:  # a history may be read before the first connection
        return None
    with _lock:
        if _background is None:
            _background = _BackgroundHub()
        return _background.hub


@cache
def log_no_recipients() -> None:
    """Warn that a call reached no connection, once per process."""
    logger.warning(
        "No recipients: this process serves no connections, and its channel layer is in memory or missing, so other "
        "processes receive nothing. Use a layer that spans processes, such as channels-redis."
    )


def _forget_ended() -> None:
    """Forget the hubs whose loops are closed, and the histories in memory, as if that process had ended."""
    if ended := [loop for loop in _serving if loop.is_closed()]:
        for loop in ended:
            del _serving[loop]
        memory.forget_all()


def _stop_with_reactor(hub: Hub) -> None:
    """Stop a hub before Twisted's reactor stops; the reactor waits for it.

    daphne runs no lifespan. It cancels the tasks of its connections, unless a handshake began in the last second, and
    waits until the first of them has ended.
    """
    reactor: Any = getattr(sys.modules.get("twisted.internet"), "reactor", None)
    if getattr(reactor, "running", False) and getattr(reactor, "_asyncioEventloop", None) is hub.loop:
        from twisted.internet.defer import Deferred  # loaded already; other servers do not need it

        reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: Deferred.fromFuture(asyncio.ensure_future(hub.stop()))
        )


class _BackgroundHub:
    """A hub without connections, on an event loop of its own that a daemon thread runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._stopping = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="etp-background", daemon=True)
        self._thread.start()
        self.hub = asyncio.run_coroutine_threadsafe(self._make_hub(), self.loop).result(_STOP_LIMIT)

    async def _make_hub(self) -> Hub:
        hub = Hub(asyncio.get_running_loop(), answer, is_serving=False)
        hub.report = report
        return hub

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            # The channel layers close their connections when their loop closes.
            self.loop.close()

    def retire(self) -> None:
        """Stop once all queries that were asked through it have ended: with their replies, or at their time limits."""
        with suppress(Exception):  # stop() may come first
            asyncio.run_coroutine_threadsafe(self._wait_for_queries(), self.loop).result()
        self.stop()
        with suppress(ValueError):  # a forked child has emptied the list
            _retiring.remove(self)

    async def _wait_for_queries(self) -> None:
        await asyncio.sleep(_LATE_CALL)  # a caller may have chosen this hub, and not asked yet
        await self.hub.asker.wait_until_idle()

    def stop(self) -> None:
        """Send what is queued, then the last numbers, and end the loop; within a bounded time."""
        with self._stopping:
            if self.loop.is_closed():
                return
            stopping = asyncio.run_coroutine_threadsafe(self._stop(), self.loop)
            try:
                stopping.result(_STOP_LIMIT)
            except Exception as error:
                logger.debug("The background hub did not stop in time: %r", error)
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(_STOP_LIMIT)

    async def _stop(self) -> None:
        await self.hub.stop()
        await end_tasks(asyncio.all_tasks() - {asyncio.current_task()}, _END_LIMIT)


def _retire_background() -> None:
    global _background
    with _lock:
        retired, _background = _background, None
        if retired is not None:
            _retiring.append(retired)
    if retired is not None:
        threading.Thread(target=retired.retire, name="etp-retire", daemon=True).start()


@atexit.register
def _stop_background() -> None:
    for background in [_background, *_retiring]:
        if background is not None:
            background.stop()


def _forget_all() -> None:
    # The child must not touch the parent's loops, threads and sockets. A thread that it lacks may hold the lock.
    global _background, _lock
    _inherited.append((dict(_serving), _background, list(_retiring)))
    _serving.clear()
    _retiring.clear()
    _background = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
