"""The drain of this process: its clients go to other processes, a few at a time, before the server ends.

Rules kept here:

- SIGTERM reaches the drain first, while the server still listens. The server gets the signal once the drain is over.
- SIGINT, and a second SIGTERM, reach the server at once. A process under a supervisor takes a further SIGTERM for the
  first: systemd sends one to each process of a unit, and gunicorn may repeat its own.
- A server that ends for another reason may leave the closes to the drain, as django_etp.uvicorn does.
- New connections are refused from the beginning of the drain to the end of the process.
- Only a project with ``ETP["DRAIN_SECONDS"]`` imports this module; its signal handlers are installed with the first
  connection, after those of the server.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass
from typing import Any

from django_etp.conf import get_settings
from django_etp.draining import draining
from django_etp.hub.hub import Hub
from django_etp.hub.queries import HubQuery, register_query

from .serving import Serving

__all__ = ["DrainHost", "ProcessDrain", "process_drain"]

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ProcessDrain:
    """The drain of a process, for all its event loops that serve connections."""

    def __init__(self) -> None:
        self._start_anew()

    def _start_anew(self) -> None:
        self._servings: dict[Serving, None] = {}
        self._previous: dict[int, Any] = {}  # the signal handlers of the server
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_terminating = self._is_cut_short = False
        self._closed_here: set[object] | None = None

    def prepare(self, serving: Serving) -> None:
        """Include what serves the running loop; take the signals over, if this is the main thread."""
        self._servings[serving] = None
        draining.closes = self.closes
        is_ready = bool(self._previous) or self._is_cut_short
        if is_ready or threading.current_thread() is not threading.main_thread():
            return
        self._loop = asyncio.get_running_loop()
        for signum in _SIGNALS:
            if (handler := signal.getsignal(signum)) is not None:  # one from outside of Python could not be restored
                self._previous[signum] = handler
                signal.signal(signum, self._take_signal)

    def begin(self) -> None:
        """Begin, unless it has begun; this is called on an event loop that serves connections."""
        draining.has_begun = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def closes(self, server: object) -> bool:
        """See Draining."""
        if self._is_cut_short or (self._task is not None and self._task.done()):
            return False
        self.begin()
        if self._closed_here is None:
            self._closed_here = {each.server for serving in self._servings for each in serving.served}
        return server in self._closed_here

    @property
    def connections(self) -> int:
        """How many connections there still are."""
        return sum(serving.count for serving in self._servings)

    def release_signals(self) -> None:
        """Give the signals back to the handlers of the server."""
        for signum, handler in self._previous.items():
            if signal.getsignal(signum) == self._take_signal:
                signal.signal(signum, handler)
        self._previous = {}

    def forget(self) -> None:
        """Be as a new process is: a child has the signal handlers of its parent after a fork, and no connections."""
        self.release_signals()
        draining.reset()
        self._start_anew()

    def _take_signal(self, signum: int, frame: object) -> None:
        is_over = self._task is not None and self._task.done()
        if signum != signal.SIGTERM or is_over or self._loop is None or self._loop.is_closed():
            self._pass_on(signum)
        elif not self._is_terminating:
            self._is_terminating = draining.has_begun = True
            self._loop.call_soon_threadsafe(self.begin)
        elif not _has_supervisor():
            self._pass_on(signum)

    async def _run(self) -> None:
        seconds = get_settings().drain_seconds
        logger.info("Draining: new connections are refused, and %d are closed in %g s.", self.connections, seconds)
        try:
            await asyncio.gather(*(_drain(serving, seconds) for serving in self._servings))
            logger.info("Drained; %d connections have not ended.", self.connections)
        except Exception:
            logger.exception("The drain failed; the server ends without it.")
        finally:
            if self._is_terminating and self._loop is not None:
                self._loop.call_soon_threadsafe(self._pass_on, signal.SIGTERM)

    def _pass_on(self, signum: int) -> None:
        """Let the server handle a signal, and those after it."""
        self._is_cut_short = True
        self.release_signals()
        signal.raise_signal(signum)


async def _drain(serving: Serving, seconds: float) -> None:
    loop = serving.hub.loop
    if loop is asyncio.get_running_loop():
        await serving.drain(seconds)
    elif loop.is_running():
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(serving.drain(seconds), loop))


def _has_supervisor() -> bool:
    """Return whether another process starts and ends this one: ``uvicorn --workers``, or gunicorn."""
    return multiprocessing.parent_process() is not None or "gunicorn.arbiter" in sys.modules


process_drain = ProcessDrain()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=process_drain.forget)


@register_query("drain")
@dataclass(frozen=True, slots=True)
class DrainHost(HubQuery[dict[int, int]]):
    """Let the server processes of a machine or container drain, and return how many connections each still has.

    Attributes:
        host: its name, as ``socket.gethostname()`` returns it.
        pid: the id of the only process to drain, or of its parent; 0 for all.
    """

    host: str
    pid: int

    async def reply(self, hub: Hub) -> list[int]:
        """Begin, if this process is meant; return its id and the number of its connections."""
        is_meant = self.host == socket.gethostname() and self.pid in (0, os.getpid(), os.getppid())
        if hub.serving is None or not is_meant:
            return []
        process_drain.begin()
        return [os.getpid(), process_drain.connections]

    def merge(self, replies: list[list[int]]) -> dict[int, int]:
        """Return the numbers by the ids of the processes."""
        return {reply[0]: reply[1] for reply in replies if reply}
