"""Serve the connections of one event loop, from the first to the last.

Rules kept here:

- With the first connection the hub takes its place among the other processes' hubs, and the maintenance begins.
- After the last one the maintenance ends, and the hub stops serving. If the server is ending, the hub leaves the other
  processes' hubs instead: a server waits for the tasks of its connections and for nothing else.
- What runs beside the connections, such as a relay, begins with the first one too, and ends with the server.
- Each task that a server runs for a connection calls begin() and end() once, also if a hook refuses the handshake.
  Handshakes of pages that may not connect are refused before that.
"""

import asyncio
from contextlib import suppress
from typing import Any, Protocol

from django_etp.conf import get_settings
from django_etp.draining import draining
from django_etp.events.errors import report
from django_etp.events.rechecks import recheck
from django_etp.events.registry import registry
from django_etp.hub.hub import Hub
from django_etp.hub.process import serving_hub
from django_etp.protocol.closing import Disconnect, restart
from django_etp.rooms.background import finish_batches
from django_etp.signals import user_offline, user_online

from .companions import start_companions, stop_companions
from .maintenance import maintain

__all__ = ["Serving", "current_serving", "report_to_hooks"]

# How long connections may take to end when the server ends, in seconds: on_disconnect hooks have 9 s.
_END_LIMIT = 10.0
# When a client of a drain connects again, in seconds. The closes are spread already.
_RECONNECT_IN = 0.2


class Served(Protocol):
    """A connection that is served: its lifecycle.

    Attributes:
        server: the object that the server has for the connection, if it offers the extension ``django_etp.direct``.
    """

    @property
    def server(self) -> object:
        """See above."""

    async def drain(self, disconnect: Disconnect) -> None:
        """Close it once no handler runs, or after the time of the setting ``DISCONNECT_GRACE``."""


class Serving:
    """The connections that one hub serves, by the tasks that the server runs for them."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        hub.serving = self
        hub.report = report_to_hooks
        hub.recheck = recheck
        self._tasks: dict[asyncio.Task[Any] | None, Served | None] = {}
        self._maintenance: asyncio.Task[None] | None = None
        self._is_ending = False
        self._watches_users = user_online.has_listeners() or user_offline.has_listeners()
        self._has_presence = self._watches_users or registry.has_presence
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    async def begin(self) -> None:
        """Serve a connection from now until end(), which must follow in any case, in the same task."""
        self._tasks[asyncio.current_task()] = None
        self._is_ending = False
        self._is_empty.clear()
        if self._maintenance is None:
            self._maintenance = self.hub.loop.create_task(maintain(self.hub), context=self.hub.context.copy())
            start_companions(self.hub)
            if get_settings().drain_seconds:
                from .drain import process_drain  # only a project that uses it imports it

                process_drain.prepare(self)
        await self.hub.start()
        if self._has_presence:
            from django_etp.presence.tracker import tracker_of  # only a project that uses it imports it

            tracker_of(self.hub).begin()
            if self._watches_users:
                tracker_of(self.hub).watch_users()

    def add(self, task: asyncio.Task[Any] | None, served: Served) -> None:
        """Add the open connection of a task, unless it has ended. A handshake goes on during a drain until here."""
        if task in self._tasks:
            self._tasks[task] = served
            if draining.has_begun:
                self.hub.run(served.drain(restart(_RECONNECT_IN)))

    @property
    def count(self) -> int:
        """How many connections have not ended, those in a handshake included."""
        return len(self._tasks)

    @property
    def served(self) -> list[Served]:
        """The open connections."""
        return [each for each in self._tasks.values() if each is not None]

    async def end(self) -> None:
        """Record that a connection has ended."""
        del self._tasks[asyncio.current_task()]
        if self._tasks:
            return
        self._is_empty.set()
        if self._maintenance is not None:
            self._maintenance.cancel()
            self._maintenance = None
        if not self._is_ending:
            self.hub.stop_serving()
            return
        await stop_companions()
        await self.hub.settle(_END_LIMIT)
        if self._tasks:
            return  # another connection has come meanwhile
        if self._is_ending:
            await finish_batches(self.hub)
            await self.hub.leave_others()
        else:  # another has come and gone: the server is not ending
            self.hub.stop_serving()

    def expect_end(self) -> None:
        """Record that the server seems to end: it has ended a connection by itself."""
        self._is_ending = True

    async def drain(self, seconds: float) -> None:
        """Close the connections, spread over so many seconds, and wait until they have ended, for a bounded time."""
        self.expect_end()
        served = self.served
        begun_at = self.hub.loop.time()
        for number, each in enumerate(served):
            if (left := begun_at + seconds * number / len(served) - self.hub.loop.time()) > 0:
                await asyncio.sleep(left)
            self.hub.run(each.drain(restart(_RECONNECT_IN)))
        with suppress(TimeoutError):
            async with asyncio.timeout(get_settings().disconnect_grace + _END_LIMIT):
                await self._is_empty.wait()

    async def stop(self) -> None:
        """End the connections, within a bounded time."""
        for task in tuple(self._tasks):
            if task is not None and not task.cancelling():
                task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_LIMIT):
                await self._is_empty.wait()
        await finish_batches(self.hub)
        await stop_companions()


def current_serving() -> Serving:
    """Return what serves the connections of the running loop, made on first use."""
    hub = serving_hub()
    return hub.serving if isinstance(hub.serving, Serving) else Serving(hub)


async def report_to_hooks(namespace: str, error: Exception) -> None:
    """Pass an error of the channel layer to the ``on_error`` hooks of a namespace, and log it."""
    await report(registry.namespace(namespace), None, error, "the channel layer")
