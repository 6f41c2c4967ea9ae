"""The hubs of this process: of its event loops that serve connections, or of one that only sends and asks.

Rules kept here:

- A hub belongs to the loop that runs its consumers, and is made there.
- Where no hub serves connections (WSGI, Celery, commands), one without members runs on a daemon thread's loop, made
  on first use; when a serving hub appears later, new calls go to that, and the other tells its last numbers and ends,
  once the questions that it has asked are answered.
- After a fork the child makes all anew, and never closes what it inherited.
- When a server ends, its hub leaves the others: with its last connection (uvicorn), before the reactor stops (daphne),
  or as the loop cancels its tasks (``asyncio.run``).
"""

import asyncio
import atexit
import logging
import os
import sys
import threading
from contextlib import suppress
from typing import Any

from channels.layers import InMemoryChannelLayer, channel_layers

from django_etp.concurrency.tasks import end_tasks
from django_etp.conf import get_settings

from .hub import Hub
from .queries import answer

__all__ = ["process_hub", "serving_hub"]

logger = logging.getLogger(__name__)

_STOP_LIMIT = 7.0
_END_LIMIT = 1.0
# What a call may take from choosing a hub to reaching it, in seconds.
_LATE_CALL = 1.0

_serving: dict[asyncio.AbstractEventLoop, Hub] = {}
_background: "_BackgroundHub | None" = None
_retiring: list["_BackgroundHub"] = []
_lock = threading.Lock()
# What a child has from its parent. It is kept, since what is collected would be closed, the parent's sockets with it.
_inherited: list[Any] = []


def serving_hub() -> Hub:
    """Return the hub of the running loop, made on first use."""
    loop = asyncio.get_running_loop()
    hub = _serving.get(loop)
    if hub is None:
        for ended in [loop for loop in _serving if loop.is_closed()]:
            del _serving[ended]
        hub = _serving[loop] = Hub(loop, answer, is_serving=True)
        _stop_with_reactor(hub)
        _retire_background()
    return hub


def process_hub() -> Hub | None:
    """Return the hub that this process sends and asks with; ``None`` where it could reach nobody.

    Where several loops serve connections, it is the running loop's, else the newest whose loop runs. A loop that rests,
    as a test runner's does between two tests, can send nothing.
    """
    with suppress(RuntimeError):
        if hub := _serving.get(asyncio.get_running_loop()):
            return hub
    for loop, hub in reversed(list(_serving.items())):
        if loop.is_running():
            return hub
    if (background := _background) is not None:  # the layer spans processes, then; and the settings take their time
        return background.hub
    if not _layer_spans_processes():
        return None
    return _background_hub().hub


def _stop_with_reactor(hub: Hub) -> None:
    """Let a hub stop before Twisted's reactor does, which then waits for it.

    daphne runs no lifespan. It cancels its connections' tasks, or not (a handshake of the last second keeps it from
    doing so), and waits until the first of them has ended.
    """
    reactor: Any = getattr(sys.modules.get("twisted.internet"), "reactor", None)
    if getattr(reactor, "running", False) and getattr(reactor, "_asyncioEventloop", None) is hub.loop:
        from twisted.internet.defer import Deferred  # loaded already, and not needed elsewhere

        reactor.addSystemEventTrigger(
            "before", "shutdown", lambda: Deferred.fromFuture(asyncio.ensure_future(hub.stop()))
        )


class _BackgroundHub:
    """A hub without members, on a loop of its own that a daemon thread runs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._stopping = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="etp-background", daemon=True)
        self._thread.start()
        self.hub = asyncio.run_coroutine_threadsafe(self._make_hub(), self.loop).result(_STOP_LIMIT)

    async def _make_hub(self) -> Hub:
        return Hub(asyncio.get_running_loop(), answer, is_serving=False)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            # The layers close their connections when their loop closes.
            self.loop.close()

    def retire(self) -> None:
        """Stop as soon as all that was asked through it is answered, or has waited for as long as its caller allows."""
        with suppress(Exception):  # stop() may come first
            asyncio.run_coroutine_threadsafe(self._all_answered(), self.loop).result()
        self.stop()
        with suppress(ValueError):  # a forked child knows it no more
            _retiring.remove(self)

    async def _all_answered(self) -> None:
        await asyncio.sleep(_LATE_CALL)
        await self.hub.asker.wait_until_idle()

    def stop(self) -> None:
        """Let what waits go out, tell the last numbers, end the loop; within a bounded time."""
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


def _background_hub() -> _BackgroundHub:
    global _background
    with _lock:
        if _background is None:
            _background = _BackgroundHub()
        return _background


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


def _layer_spans_processes() -> bool:
    alias = get_settings().channel_layer
    return alias in channel_layers and not isinstance(channel_layers[alias], InMemoryChannelLayer)


def _forget_all() -> None:
    # The child must not touch the parent's loops, threads and sockets; locks may be held by threads it has not.
    global _background, _lock
    _inherited.append((dict(_serving), _background, list(_retiring)))
    _serving.clear()
    _retiring.clear()
    _background = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
