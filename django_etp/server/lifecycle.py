"""One connection while it is served: the handshake, reading, and the end.

Rules kept here:

- One receive loop reads on while handlers run, so that answers always arrive.
- Beyond ``MAX_HELD`` bytes of events it reads no further until some have ended: see ``events/budget.py``.
- It reads while ``on_connect`` hooks run, too. Answers to them arrive; events wait until the connection is open.
- The end runs once, for every reason: a close by either side, an error, a cancelled task.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any

from django_etp.auth.token_login import watch_login
from django_etp.conf import get_settings
from django_etp.connections.asgi import Receive, Send, disconnect_of
from django_etp.connections.direct import server_of
from django_etp.connections.outbox import Outbox
from django_etp.connections.peer import Peer
from django_etp.connections.records import facts_of
from django_etp.connections.scope import identity_of
from django_etp.connections.state import CLOSED, OPEN
from django_etp.events.budget import make_room
from django_etp.events.dispatcher import Dispatcher
from django_etp.events.guests import end_guests
from django_etp.events.middleware import surrounds
from django_etp.events.registry import registry
from django_etp.exceptions import InvalidFrame, MessageTooLarge, ProtocolError, TooManyEvents
from django_etp.protocol.closing import RESTART, Disconnect
from django_etp.protocol.frames import RESERVED_PREFIX, decode
from django_etp.quoting import line_of
from django_etp.signals import disconnected, notify, slow_client_closed

from .handshake import Handshake
from .message_size import check_size, limit_on_server
from .reading import read_by_calls, read_messages
from .reserved import take_reserved
from .serving import Serving

__all__ = ["Lifecycle"]

logger = logging.getLogger(__name__)

# How long the client has to answer our close before the task of the connection ends, in seconds.
_CLOSE_WAIT = 2.0
# How long the on_disconnect hooks may take, in seconds: daphne kills an application 10 s after the disconnect.
_DISCONNECT_LIMIT = 9.0
# A client that has sent so many malformed frames more than valid ones is closed.
_MAX_MALFORMED = 100

_TASK_ENDED = Disconnect(1001, "the server ended the connection's task")


class Lifecycle:
    """One connection while it is served: the handshake, reading, and the end."""

    __slots__ = (
        "_connecting",
        "_dispatcher",
        "_ending",
        "_handlers",
        "_handshake",
        "_malformed",
        "_max_size",
        "_outbox",
        "_peer",
        "_reading",
        "_receive",
        "_send",
        "_serving",
        "server",
    )

    def __init__(
        self,
        serving: Serving,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        namespace: str,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        self._serving = serving
        self._receive = receive
        self._send = send
        self._handlers = registry.namespace(namespace)
        self.server = server_of(scope, receive, send)
        self._outbox = Outbox(send, self, serving.hub.flusher, self.server)
        self._peer = Peer(scope, serving.hub, self._outbox, namespace=namespace, owner=self)
        self._dispatcher = Dispatcher(self._peer, self._handlers)
        self._malformed = 0  # frames more than valid ones
        self._max_size = get_settings().max_message_size
        limit_on_server(send, self._max_size)
        # Both until the connection is open; the task runs the hooks, if there are any.
        self._handshake: Handshake | None = Handshake(self._peer, self._outbox, self._dispatcher, send, subprotocols)
        self._connecting: asyncio.Task[None] | None = None
        # The task of the connection, while it waits for the client.
        self._reading: asyncio.Task[Any] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the connection from its handshake to its end. If the task is cancelled, the end still runs."""
        hub = self._serving.hub
        hub.add(self._peer, identity_of(self._peer.scope, self._peer.user_id))
        watch_login(self._peer)
        self._reading = task = asyncio.current_task()
        disconnect = _TASK_ENDED
        try:
            try:
                await hub.enter(self._peer)
                disconnect = await self._begin() or await self._read()
            except asyncio.CancelledError:
                # _interrupt() ends the reading in this way. An asyncio.timeout() would do the same, and take 170 bytes
                # for as long as the connection lives.
                was_read, self._reading = self._reading, None
                if was_read is not None or (task is not None and task.uncancel() > 0):
                    # A server may close its sockets seconds after it has cancelled its tasks. Without a close a client
                    # misses the events of that time.
                    if self._outbox.state is OPEN:
                        self._peer.end(_TASK_ENDED)
                    raise
            finally:
                self._reading = None
                self._peer.lose(disconnect)
            if disconnect.code == RESTART:  # uvicorn ends its connections with this when it stops
                self._serving.expect_end()
            if self._ending is not None:
                await asyncio.shield(self._ending)
        except asyncio.CancelledError:
            # A server that stops cancels the tasks of all its connections, and may exit once the first of them is done.
            # So wait for all, after those that were cancelled together with this one have begun their ends.
            self._serving.expect_end()
            await asyncio.sleep(0)
            await hub.settle(_DISCONNECT_LIMIT)
            raise

    async def accept(self) -> None:
        """Accept the handshake, unless that has been done."""
        if self._handshake is not None:
            await self._handshake.accept()

    def reads_too_slowly(self, facts: str) -> None:
        """Close a connection whose client reads too slowly, or not at all."""
        logger.warning(
            "Connection %s is closed with 1013: its client %s. The settings ETP['SLOW_CLIENT_TIMEOUT'] and "
            "ETP['MAX_OUTBOX'] are the limits.",
            self._peer.id,
            facts,
            extra=facts_of(self._peer),
        )
        notify(slow_client_closed, connection=self._dispatcher.connection)
        self._peer.end(Disconnect(1013, "reads too slowly"), drop=True)

    def write_failed(self, error: Exception) -> None:
        """Record that the server refused a frame, and that the connection was closed with 1011."""
        logger.warning(
            "Connection %s is closed with 1011: the server refused to write a message: %s: %s. daphne writes "
            "messages of up to 1 MiB, unless its option --websocket-max-message-size says more.",
            self._peer.id,
            type(error).__name__,
            line_of(error, 500),
            extra=facts_of(self._peer),
        )
        self._peer.lose(Disconnect(1011, "a message could not be written"))

    async def drain(self, disconnect: Disconnect) -> None:
        """See Served."""
        await self._dispatcher.until_idle(get_settings().disconnect_grace)
        self._peer.end(disconnect)

    def begin_end(self) -> None:
        """Clean up, or begin to: the connection has ended."""
        if self._handshake is None:
            notify(disconnected, connection=self._dispatcher.connection, disconnect=self._peer.disconnect)
        has_more = any(self._what_remains()) or self._peer.has_unsaved
        if not has_more and self._serving.hub.remove_at_once(self._peer):
            self._dispatcher.stop()
            self._dispatcher.report_rest()
            return
        # In the context of the handshake: the code that closes the connection may belong to a request, or to another
        # connection.
        self._ending = self._dispatcher.context.copy().run(self._serving.hub.run, self._end())

    async def _begin(self) -> Disconnect | None:
        """Receive the handshake, and accept it or begin to; return how the connection ended, if it has."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            return disconnect_of(message)
        if self._handlers.on_connect or surrounds.connects:
            self._connecting = self._serving.hub.run(self._connect())
        elif self._handshake is not None and await self._handshake.run_without_hooks():
            self._handshake = None
            self._serving.add(self._reading, self)
        return None

    async def _connect(self) -> None:
        if self._handshake is not None and await self._handshake.run():
            self._handshake = self._connecting = None
            self._serving.add(self._reading, self)

    def _read(self) -> Coroutine[Any, Any, Disconnect]:
        if self.server is None:
            return read_messages(self._receive, self._send, self)
        return read_by_calls(self.server, self, self._dispatcher.context)

    async def make_room(self) -> None:
        """See Reader."""
        try:
            await make_room(self._dispatcher, self._peer, self._send)
        except TooManyEvents as error:
            self._fail(1008, error, "too many events")

    def take(self, data: str | bytes) -> bool:
        """See Reader."""
        if self._ending is not None:
            return False  # after our own close, messages are dropped
        try:
            # A character takes up to 4 bytes: count only if the message may be too large.
            size = len(data)
            if size * 4 > self._max_size:
                check_size(data, self._max_size)
            event = decode(data)
            if self._malformed:
                self._malformed -= 1
            if event.name.startswith(RESERVED_PREFIX) and take_reserved(self._peer, event, self._dispatcher.context):
                return False
            return self._dispatcher.submit(event, size)
        except InvalidFrame as error:
            return self._take_malformed(error, size)
        except MessageTooLarge as error:
            # In the words of the reference implementation, which reads one byte past the limit to notice it.
            self._fail(1009, error, f"read limited at {self._max_size + 1} bytes")
        except TooManyEvents as error:
            self._dispatcher.refuse(event, error)
            self._fail(1008, error, "too many events")
        return False

    def _take_malformed(self, error: InvalidFrame, size: int) -> bool:
        self._malformed += 1
        if self._malformed > _MAX_MALFORMED:
            text = f"The client sent {_MAX_MALFORMED} malformed frames more than valid ones; it is closed with 1008."
            self._fail(1008, InvalidFrame(text, frame=error.frame), "too many malformed frames")
            return False
        try:
            # The frames of a traceback would keep the message a second time.
            return self._dispatcher.submit(error.with_traceback(None), size)
        except TooManyEvents as too_many:
            self._fail(1008, too_many, "too many events")
            return False

    def _fail(self, code: int, error: ProtocolError, reason: str) -> None:
        self._peer.end(Disconnect(code, reason))
        self._serving.hub.run(self._dispatcher.report(error.with_traceback(None), "a message it sent", is_last=True))

    async def _end(self) -> None:
        """Clean up, once. Running handlers and on_disconnect hooks have a limited time."""
        self._dispatcher.stop()
        try:
            await self._serving.hub.remove(self._peer)
        finally:
            if remains := tuple(self._what_remains()):
                await asyncio.gather(*(each() for each in remains))
            # The last handlers and hooks may have changed the session.
            await self._dispatcher.save()
            await self._dispatcher.discard_session()
            self._dispatcher.report_rest()

    def _what_remains(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """Yield the steps of the end that may have to wait. Most connections need none; each step costs a task."""
        if self._reading is not None or self._outbox.state is not CLOSED:
            yield self._stop_reading
        if self._peer.share is not None:
            yield self._dispatcher.forget_data
        if self._dispatcher.is_busy:
            yield self._dispatcher.finish
        if self._connecting is not None or self._handlers.on_disconnect:
            yield self._run_last_hooks
        if self._serving.hub.membership.guests.of(self._peer.id):
            yield partial(end_guests, self._serving.hub, self._peer.id)

    async def _stop_reading(self) -> None:
        await self._outbox.closed()
        if self._reading is not None:
            was_accepted = self._handshake is None or self._handshake.was_accepted
            self._serving.hub.loop.call_later(_CLOSE_WAIT if was_accepted else 0.0, self._interrupt)

    def _interrupt(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()

    async def _run_last_hooks(self) -> None:
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        handshake = self._handshake
        if handshake is None or (handshake.was_accepted and not handshake.was_rejected):
            await self._dispatcher.disconnect(_DISCONNECT_LIMIT)
