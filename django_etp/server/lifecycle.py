"""One connection's life while it is served: the handshake, reading, and the end.

Rules kept here:

- One receive loop; it reads on while handlers run, so that answers always come through.
- ``on_connect`` runs before the accept and may refuse; what the client sends meanwhile waits.
- The end runs once, whatever brought it about: a close of either side, an error, a cancelled task.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from django_etp.concurrency.tasks import must_pass
from django_etp.conf import get_settings
from django_etp.connections.asgi import Receive, Send
from django_etp.connections.outbox import Outbox
from django_etp.connections.peer import Peer
from django_etp.connections.state import CLOSED, CONNECTING
from django_etp.events.dispatcher import Dispatcher
from django_etp.events.registry import registry
from django_etp.exceptions import (
    ConnectionClosed,
    InvalidFrame,
    MessageTooLarge,
    ProtocolError,
    RejectConnection,
    TooManyEvents,
)
from django_etp.hub.hub import Hub
from django_etp.protocol.closing import Disconnect, cut_reason
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.frames import HELLO, RESERVED_PREFIX, SUBPROTOCOL, Event, decode, encode, encode_answer
from django_etp.sessions.cookies import can_set_cookie, session_cookie

from .maintenance import tidy_session

__all__ = ["Lifecycle"]

logger = logging.getLogger(__name__)

# daphne cuts a handshake after 5 s.
_CONNECT_LIMIT = 4.0
# How long the client has to answer our close before the server is told that we are done, in seconds.
_CLOSE_WAIT = 2.0
# The close code that uvicorn gives its connections when it ends (RFC 6455's registry: service restart).
_SERVER_ENDS = 1012
# daphne kills an application 10 s after the disconnect; hooks at the end have this long.
_DISCONNECT_LIMIT = 9.0

_NOTHING: Any = None
_TASK_ENDED = Disconnect(1001, "the server ended the connection's task")


class Lifecycle:
    """One connection while it is served: the handshake, reading, and the end."""

    __slots__ = (
        "_accepting",
        "_connecting",
        "_dispatcher",
        "_ending",
        "_handlers",
        "_hub",
        "_is_interrupted",
        "_is_reading",
        "_max_size",
        "_outbox",
        "_peer",
        "_receive",
        "_subprotocols",
        "_task",
        "_was_accepted",
        "_was_rejected",
    )

    def __init__(
        self,
        hub: Hub,
        scope: dict[str, Any],
        receive: Receive,
        send: Send,
        namespace: str,
        subprotocols: tuple[str, ...] = (),
    ) -> None:
        self._receive = receive
        self._subprotocols = subprotocols
        self._hub = hub
        self._handlers = registry.namespace(namespace)
        self._outbox = Outbox(send, self, hub.flusher)
        self._peer = Peer(scope, self._hub, self._outbox, namespace=namespace, owner=self)
        self._dispatcher = Dispatcher(self._peer, self._handlers)
        self._max_size = get_settings().max_message_size
        self._task: asyncio.Task[Any] | None = None
        self._is_reading = False
        self._is_interrupted = False
        self._accepting: asyncio.Lock | None = None  # while somebody accepts: it has 250 bytes
        self._was_accepted = False
        self._was_rejected = False
        self._connecting: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Serve the connection from its handshake to its end; where the task is cancelled, end what is left of it."""
        self._hub.add(self._peer, self._peer.user_id)
        self._task = asyncio.current_task()
        disconnect = _TASK_ENDED
        try:
            try:
                self._is_reading = True
                await self._hub.enter(self._peer)
                disconnect = await self._begin() or await self._read()
            except asyncio.CancelledError:
                # An asyncio.timeout() does the same, and has 170 bytes for as long as the connection lives.
                if not self._is_interrupted or (self._task is not None and self._task.uncancel() > 0):
                    raise
            finally:
                self._is_reading = False
                self._peer.lose(disconnect)
            if disconnect.code == _SERVER_ENDS:
                self._hub.expect_end()
            if self._ending is not None:
                await asyncio.shield(self._ending)
        except asyncio.CancelledError:
            # A server that stops cancels all its connections' tasks, and may stop once the first of them is done: wait
            # for all, once those that were cancelled with this one have begun their ends.
            self._hub.expect_end()
            await asyncio.sleep(0)
            await self._hub.settle(_DISCONNECT_LIMIT)
            raise

    async def accept(self) -> None:
        """Accept the handshake, once, whoever asks for it."""
        if self._accepting is None:
            self._accepting = asyncio.Lock()
        async with self._accepting:
            if self._outbox.state is CONNECTING:
                await self._accept_once()
        self._accepting = None

    def outbox_is_full(self) -> None:
        """Close a connection whose client reads too slowly."""
        logger.warning(
            "Connection %s is closed with 1013: its client reads too slowly, and its outbox is full.",
            self._peer.id,
        )
        self._peer.end(Disconnect(1013, "reads too slowly"), drop=True)

    def write_failed(self, error: Exception) -> None:
        """Record that the server refused a frame, and that the connection was closed with 1011."""
        logger.warning(
            "Connection %s is closed with 1011: the server refused to write a message: %s: %.500s. daphne writes "
            "messages of up to 1 MiB, unless its option --websocket-max-message-size says more.",
            self._peer.id,
            type(error).__name__,
            error,
        )
        self._peer.lose(Disconnect(1011, "a message could not be written"))

    def begin_end(self) -> None:
        """Clean up, or begin to; the connection has ended."""
        has_more = any(self._what_remains()) or self._peer.has_unsaved
        if not has_more and self._hub.remove_at_once(self._peer):
            self._dispatcher.stop()
            return
        # Not in the context of whoever closes it, which may be a request's or another connection's.
        self._ending = self._dispatcher.context.copy().run(self._hub.run, self._end())

    async def _begin(self) -> Disconnect | None:
        """Answer the handshake, or begin to; return how the connection ended where it has already."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            return _disconnect(message)
        if self._handlers.on_connect:
            self._connecting = self._hub.run(self._connect())
        else:
            # Nobody has the connection in hand, so that nothing takes time, and nobody else can ask for the accept.
            await self._accept_once()
            if self._peer.disconnect is None:
                await self._open()
        return None

    async def _read(self) -> Disconnect:
        receive, submit, max_size = self._receive, self._dispatcher.submit, self._max_size
        while True:
            message = await receive()
            if message["type"] != "websocket.receive":
                return _disconnect(message)
            if self._ending is not None:
                continue  # closed by us: what still comes in is for nobody
            text = message.get("text")
            data: str | bytes = message.get("bytes") or b"" if text is None else text
            try:
                # A character is up to 4 bytes: only what may be too large is worth counting.
                if len(data) * 4 > max_size:
                    self._check_size(data)
                event = decode(data)
                is_event = not event.name.startswith(RESERVED_PREFIX) or not self._take_reserved(event)
                if is_event and submit(event):
                    # What is here already is received without a turn of the loop, in which those before it would end.
                    await asyncio.sleep(0)
            except InvalidFrame as error:
                if self._submit_error(error):
                    await asyncio.sleep(0)
            except MessageTooLarge as error:
                # The reference's words: its limit reads one byte further, to tell too large from just fitting.
                self._fail(1009, error, f"read limited at {self._max_size + 1} bytes")
            except TooManyEvents as error:
                self._dispatcher.refuse(event, error)
                self._fail(1008, error, "too many events")
            # A large one is not kept while the next is waited for.
            message = text = data = event = _NOTHING

    def _take_reserved(self, event: Event) -> bool:
        """Settle an answer or answer a ping; return whether it was one."""
        match meaning_of(event, speaks_extensions=self._peer.speaks_extensions):
            case "answer":
                self._peer.settle(event)
            case "ping":
                self._peer.deliver(encode_answer(event))
            case _:  # a greeting too: only clients are greeted
                return False
        return True

    async def _connect(self) -> None:
        """Run the hooks, then accept; where one fails, refuse (HTTP 403), or close if it has accepted already."""
        peer = self._peer
        deadline = asyncio.timeout(_CONNECT_LIMIT)
        try:
            async with deadline:
                await self._dispatcher.connect()
                await peer.accept()
            await self._open()
        except RejectConnection as rejection:
            self._was_rejected = True
            peer.end(Disconnect(4403, cut_reason(str(rejection.reason or ""))))
        except (GeneratorExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            was_closed = peer.disconnect is not None
            # Before any on_error hook, which may take longer than the peer waits.
            peer.end(Disconnect(1011, "on_connect failed"))
            if must_pass(error):
                raise
            if not (was_closed and isinstance(error, ConnectionClosed)):
                doing = f"its on_connect hooks, which have {_CONNECT_LIMIT:g} s" if deadline.expired() else "on_connect"
                await self._dispatcher.report(error, doing)

    async def _open(self) -> None:
        """Let events run, now that the connection is accepted."""
        # What changed after an early accept.
        await self._dispatcher.save()
        tidy_session(self._peer)
        self._dispatcher.start()

    async def _accept_once(self) -> None:
        headers = await self._save_before_accept() if self._peer.has_unsaved else []
        if self._outbox.state is not CONNECTING:
            return  # meanwhile the client has gone, or the session
        try:
            if self._peer.speaks_extensions:
                greeting = encode(Event(HELLO, 0, json.dumps({"id": self._peer.id})))
                await self._outbox.accept(SUBPROTOCOL, headers, greeting)
            else:
                offered = self._peer.scope.get("subprotocols", ()) if self._subprotocols else ()
                selected = next((name for name in offered if name in self._subprotocols), None)
                await self._outbox.accept(selected, headers)
        except Exception as error:  # servers raise what they like once the peer is gone
            logger.debug("Connection %s was gone before its accept: %r", self._peer.id, error)
            self._peer.lose(Disconnect(1006, "gone before the accept"))
        else:
            self._was_accepted = True

    async def _save_before_accept(self) -> list[tuple[bytes, bytes]]:
        """Write what changed; return the headers with the cookie of a session that is new, or has a new key."""
        peer = self._peer
        key = peer.session_key
        try:
            await peer.save(can_create=can_set_cookie(peer.scope))
            is_new = peer.session_key not in (None, key)
            return session_cookie(peer.scope["session"]) if is_new else []
        except Exception as error:
            self._hub.run(self._dispatcher.report(error, "saving its data"))  # the client does not wait for on_error
            return []

    def _check_size(self, data: str | bytes) -> None:
        size = len(data)
        if isinstance(data, str) and not data.isascii():
            size = len(data.encode(errors="surrogatepass"))
        if size > self._max_size:
            raise MessageTooLarge(
                f"A message must have at most {self._max_size:,} bytes, got {size:,}; the connection is closed "
                "with 1009. Raise ETP['MAX_MESSAGE_SIZE'] if clients may send more."
            )

    def _submit_error(self, error: ProtocolError) -> bool:
        """Have a malformed frame reported; return whether it waits for others."""
        try:
            return self._dispatcher.submit(error)
        except TooManyEvents as too_many:
            self._fail(1008, too_many, "too many events")
            return False

    def _fail(self, code: int, error: ProtocolError, reason: str) -> None:
        self._peer.end(Disconnect(code, reason))
        self._hub.run(self._dispatcher.report(error, "a message it sent"))

    async def _end(self) -> None:
        """Clean up, once; running handlers and the hooks at the end have their time, and no more."""
        self._dispatcher.stop()
        try:
            await self._hub.remove(self._peer)
        finally:
            if remains := tuple(self._what_remains()):
                await asyncio.gather(*(each() for each in remains))
            # What the last handlers and hooks changed in the session.
            await self._dispatcher.save()
            if self._peer.share is not None:
                await self._discard_session()

    def _what_remains(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """Give what may have to wait. Most connections end with nothing of it, and each costs a task."""
        if self._is_reading or self._outbox.state is not CLOSED:
            yield self._stop_reading
        if self._peer.share is not None:
            yield self._forget_data
        if self._dispatcher.is_busy:
            yield self._finish_handlers
        if self._connecting is not None or self._handlers.on_disconnect:
            yield self._run_last_hooks

    async def _stop_reading(self) -> None:
        await self._outbox.closed()
        if self._is_reading:
            wait = _CLOSE_WAIT if self._was_accepted else 0.0
            self._hub.loop.call_later(wait, self._interrupt)

    def _interrupt(self) -> None:
        if self._is_reading and self._task is not None:
            self._is_interrupted = True
            self._task.cancel()

    async def _forget_data(self) -> None:
        try:
            await self._peer.own_share().end()
        except Exception as error:
            await self._dispatcher.report(error, "removing its data from the session")

    async def _discard_session(self) -> None:
        try:
            await self._peer.own_share().discard()
        except Exception as error:
            await self._dispatcher.report(error, "deleting its session")

    async def _finish_handlers(self) -> None:
        await self._dispatcher.finish(get_settings().disconnect_grace)

    async def _run_last_hooks(self) -> None:
        if self._connecting is not None:
            await asyncio.wait([self._connecting])
        if not self._was_accepted or self._was_rejected:
            return
        await self._dispatcher.disconnect(_DISCONNECT_LIMIT)


def _disconnect(message: dict[str, Any]) -> Disconnect:
    return Disconnect(message.get("code") or 1005, message.get("reason") or "")
