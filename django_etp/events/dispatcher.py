"""Run the handlers and hooks of one connection: from an event to its handler, and from the result to the answer.

Rules kept here:

- Each event runs in a task of its own; a slow one delays no other.
- Up to ``MAX_CONCURRENT_EVENTS`` run per connection; up to ``MAX_QUEUED_EVENTS`` more wait in order.
- The bytes of events that run or wait are counted, so that the receive loop can pause; see ``events/budget.py``.
- An event that requests an answer gets exactly one, unless its handler fails or the connection ends.
- An exception of a handler is logged and passed to ``on_error``; the connection stays open. Each kind of
  failure is reported once a minute, since a client can cause failures as often as it likes.
"""

import asyncio
import contextvars
import sys
import time
from collections import deque
from typing import Any

from django_etp.cancellation import must_pass
from django_etp.concurrency.workers import exited
from django_etp.conf import get_settings
from django_etp.connections.connection import Connection
from django_etp.connections.peer import Peer
from django_etp.connections.records import facts_of
from django_etp.exceptions import ProtocolError, TooManyEvents
from django_etp.protocol.failures import encode_failure
from django_etp.protocol.frames import RESERVED_PREFIX, Event, encode_answer
from django_etp.serialization import to_text
from django_etp.signals import event_handled

from .around import Around
from .budget import MAX_HELD, SMALL, held_by
from .current import running_event
from .errors import failure_observer, failure_of, report
from .finishing import Finishing
from .handlers import call, run_answering, run_reporting
from .joins import handle_room_event, is_room_event
from .middleware import run_connect, surrounds
from .namespaces import Namespace
from .outcomes import report_handled
from .repeats import Repeats
from .streams import stop_streams
from .surrounded import run_event
from .unknown import handle_unknown

__all__ = ["Dispatcher"]

_Task = asyncio.Task  # a global name is found faster than an attribute of a module
_HAS_EAGER_TASKS = sys.version_info >= (3, 12)


class Dispatcher:
    """Runs the handlers and hooks of one connection.

    Attributes:
        context: the context variables of the handshake.
        connection: the handle that handlers and hooks get.
        held: the bytes in memory of the events that run or wait, without small ones.
    """

    __slots__ = (
        "_handlers",
        "_loop",
        "_max_running",
        "_peer",
        "_queue",
        "_repeats",
        "_tasks",
        "connection",
        "context",
        "held",
    )

    def __init__(self, peer: Peer, handlers: Namespace) -> None:
        self._peer = peer
        self.connection = Connection(peer)
        # An event that has waited must not see the context variables that the handler before it, or a hook, has set.
        self.context = contextvars.copy_context()
        self._handlers = handlers
        self._loop = asyncio.get_running_loop()
        self._max_running = 0  # until start()
        self._queue: deque[Event | ProtocolError] | None = None  # made on first use: an empty one takes 600 bytes
        self._repeats: Repeats | None = None  # made with the first failure
        self.held = 0
        # The tasks of events that run, by the id() of the event or error. An eager one is added if its handler waits.
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Let events run; those that have waited run first."""
        self._max_running = get_settings().max_concurrent_events
        while self._queue and len(self._tasks) < self._max_running:
            self._start(self._queue.popleft())

    def submit(self, item: Event | ProtocolError, size: int = 0) -> bool:
        """Handle an event, or report a malformed frame, now or after others.

        Return whether it waits for others, or all of them hold too many bytes. ``size`` is the message's length.

        Raises:
            TooManyEvents: the queue is full.
        """
        if size > SMALL:
            self.held += held_by(item)
        if len(self._tasks) < self._max_running:
            if _HAS_EAGER_TASKS:
                task = _Task(self._handle(item), loop=self._loop, eager_start=True)  # type: ignore[call-arg,unused-ignore]
                if not task.done():
                    self._tasks[id(item)] = task
            else:
                self._start(item)
            return size > SMALL and self.held > MAX_HELD
        max_queued = get_settings().max_queued_events
        if len(self._queue or ()) < max_queued:
            if self._queue is None:
                self._queue = deque()
            self._queue.append(item)
            return True
        raise TooManyEvents(
            f"More than {max_queued} events of one connection wait for their handlers; it is closed with 1008. "
            "Raise ETP['MAX_QUEUED_EVENTS'] if clients may send that many at once."
        )

    def stop(self) -> None:
        """Start no more events, and end streamed answers."""
        self._max_running = 0
        self._queue = None
        stop_streams(self._peer.id)

    @property
    def is_busy(self) -> bool:
        """Whether any running handler waits for something."""
        return bool(self._tasks)

    async def until_idle(self, timeout: float) -> None:
        """Wait until no handler runs, for up to so many seconds."""
        ends_at = self._loop.time() + timeout
        while self._tasks and (left := ends_at - self._loop.time()) > 0:
            await asyncio.wait(self._tasks.values(), timeout=left)

    async def finish(self) -> None:
        """Give running handlers the time of the setting ``DISCONNECT_GRACE`` to end, then cancel them."""
        await self.until_idle(get_settings().disconnect_grace)
        for task in tuple(self._tasks.values()):
            task.cancel()

    async def connect(self) -> None:
        """Run the ``on_connect`` hooks in order, and what is around them; an exception ends that and is raised."""
        await run_connect(self._handlers, self.connection)

    async def save(self) -> None:
        """Write the changes of hooks to the data or the session; report a failure."""
        if self._peer.has_unsaved:
            try:
                await self._peer.save()
            except Exception as error:
                await self.report(error, "saving its data")
            if not self._tasks and self._peer.share is not None:
                self._peer.share.mark_saved()

    async def forget_data(self) -> None:
        """Remove the data of a connection that has ended from its session; report a failure."""
        try:
            await self._peer.own_share().end()
        except Exception as error:
            await self.report(error, "removing its data from the session")

    async def discard_session(self) -> None:
        """Delete the session of a connection that has ended, if it was made for that alone; report a failure."""
        if self._peer.share is not None:
            try:
                await self._peer.share.discard()
            except Exception as error:
                await self.report(error, "deleting its session")

    async def disconnect(self, limit: float) -> None:
        """Run all ``on_disconnect`` hooks, even if one fails or hangs: they share ``limit`` seconds."""
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + limit
        hooks = list(self._handlers.on_disconnect)
        for index, hook in enumerate(hooks):
            share = max(0.0, ends_at - loop.time()) / (len(hooks) - index)
            deadline = asyncio.timeout(share)
            try:
                async with deadline:
                    await call(hook, run_reporting, self.connection, self._peer.disconnect)
            except BaseException as error:
                if must_pass(error):
                    raise
                within = f", which has {share:.1f} s" if deadline.expired() else ""
                await self.report(error, f"its on_disconnect hook {hook.place}{within}")

    async def report(self, error: BaseException, doing: str, *, is_last: bool = False) -> None:
        """Log an error and pass it to the ``on_error`` hooks; ``doing`` names the failed step.

        Each kind of failure is reported once a minute and then counted, except the last one, which ends the connection.
        """
        if not is_last:
            if self._repeats is None:
                self._repeats = Repeats(self.connection.id, facts_of(self.connection))
            if not self._repeats.admit(error):
                return
        await report(self._handlers, self.connection, error, doing)

    def report_rest(self) -> None:
        """Log how many failures were counted and not reported: the connection has ended."""
        if self._repeats is not None:
            self._repeats.end()

    def _start(self, item: Event | ProtocolError) -> None:
        name = item.name if isinstance(item, Event) else "a malformed frame"  # the default name takes longer to make
        self._tasks[id(item)] = _Task(self._handle(item), loop=self._loop, name=name, context=self.context.copy())

    async def _handle(self, item: Event | ProtocolError) -> None:
        # One flat coroutine, which also counts itself: a done callback would cost each event more.
        peer, connection = self._peer, self.connection
        began_at, failure, is_saving = (time.perf_counter() if event_handled.receivers else 0.0), None, False
        running: list[Any] = []
        try:
            if not isinstance(item, Event):
                await self.report(item, "a frame it sent")
                await self.save()
                return
            handlers = self._handlers
            running = [item, handlers]
            running_event.set(running)
            handler = handlers.events.get(item.name)
            if surrounds.events and (surrounds.of_events or (handler is not None and handler.limit is not None)):
                result = await run_event(handlers, peer, connection, item, self._handle_other)
            elif handler is None:
                result = await self._handle_other(item)
            elif handler.is_async:
                result = await handler.function(connection, item)
            else:
                result = await call(handler, run_answering, connection, item)
            if type(result) is not str and isinstance(result, Finishing):
                await result.finish(peer, item, self.save)
                return
            if (peer.share is not None or peer.scope.get("user") is not peer.known_user) and peer.has_unsaved:
                is_saving = True
                await peer.save()
                is_saving = False
            if item.ack_id:
                text = result if type(result) is str else to_text(result)
                answering = peer.outbox.begin(encode_answer(item, text))
                if answering is not None:
                    await answering
        except BaseException as error:
            failure = error if began_at else None
            if must_pass(error):
                raise
            await self._handle_failure(item, error, failed_to_save=is_saving)
        finally:
            if self._tasks:
                self._tasks.pop(id(item), None)
            if self.held:
                self.held -= held_by(item)
            # Only if no other handler runs: it could still change a nested value of the data.
            if peer.share is not None and not self._tasks and peer.has_unsaved and peer.disconnect is None:
                peer.share.mark_saved()
            if self._queue and len(self._tasks) < self._max_running:
                self._start(self._queue.popleft())
            if began_at and running:
                report_handled(self._handlers, connection, running, began_at, failure)
            running.clear()

    def refuse(self, event: Event, error: TooManyEvents) -> None:
        """Answer an event that is one too many with a failure, if the client speaks the extensions."""
        if event.ack_id and self._peer.speaks_extensions:
            self._peer.deliver(encode_failure(event, failure_of(error)))

    async def _handle_failure(self, item: Event | ProtocolError, error: BaseException, *, failed_to_save: bool) -> None:
        if isinstance(error, SystemExit):
            error = exited(error)
        await self.report(error, f"event {item.name[:80]!r}" if isinstance(item, Event) else "a frame it sent")
        if not failed_to_save:  # the handler may have changed the data before it failed
            await self.save()
        if not isinstance(item, Event):
            return
        if (observe := failure_observer.get()) is not None:
            observe(item, error)
        if not (item.ack_id and self._peer.speaks_extensions):
            return
        if (answering := self._peer.outbox.begin(encode_failure(item, failure_of(error)))) is not None:
            await answering

    async def _handle_other(self, event: Event, around: Around | None = None) -> object:
        if event.name.startswith(RESERVED_PREFIX) and is_room_event(event, self._peer):
            return await handle_room_event(self._handlers, self._peer, self.connection, event, self.report, around)
        return await handle_unknown(self._handlers, self._peer, self.connection, event, around)
