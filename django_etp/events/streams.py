"""Streamed answers: the values of an async generator go to the client one by one.

Rules kept here:

- Each value is sent before the generator makes the next one. A client that is far behind in reading holds it up.
- The client's request to stop, and the end of its connection, close the generator at once: it is cancelled if it waits,
  and its ``finally`` clauses run.
- So does the end of the membership, if the event came inside a declared room. The client then gets the reason as the
  failure of the event, before ``__left``, and no part after it.
- A client without ``etp.ext.v2`` gets one answer: the parts joined if they are text, otherwise as a JSON list.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from django.utils.functional import Promise

from django_etp.concurrency.workers import run_handler
from django_etp.conf import get_settings
from django_etp.connections.peer import Peer
from django_etp.connections.scope import extensions_of
from django_etp.exceptions import EtpError, EventFailed
from django_etp.protocol.failures import encode_failure
from django_etp.protocol.frames import ROOMS_SUBPROTOCOL, Event, encode_answer
from django_etp.protocol.rooms import read_in_room
from django_etp.protocol.streams import encode_part
from django_etp.schemas.plain import Text
from django_etp.schemas.schema import Writer
from django_etp.serialization import to_text

from .finishing import Finishing

__all__ = ["Stream", "end_streams", "stop_stream", "stop_streams"]

# After so many parts in a row other tasks have their turn, even if neither the generator nor the client waits.
_IN_A_ROW = 32

# Those that run, by the id of their connection.
_running: dict[str, set["Stream"]] = {}


class Stream(Finishing):
    """The answer of a handler that is an async generator.

    Args:
        generator: makes the values.
        writer: makes them text, if the handler declares their type.
        inner: the stream of the handler, if a middleware has put the generator around its values.
    """

    __slots__ = ("_inner", "_is_stopped", "_task", "_writer", "event", "generator")

    def __init__(
        self, generator: AsyncGenerator[Any, None], writer: Writer | None, inner: "Stream | None" = None
    ) -> None:
        self.generator = generator
        self._writer: Writer | None = writer if inner is None else inner._writer
        self._inner = inner
        self._task: asyncio.Task[Any] | None = None
        self._is_stopped = False
        self.event: Event | None = None  # until it runs

    async def finish(self, peer: Peer, event: Event, save: Callable[[], Awaitable[None]]) -> None:
        """See Finishing: send the values, and the answer behind them unless the stream is stopped."""
        answer = await self._run(peer, event)
        await save()
        if event.ack_id and answer is not None and (answering := peer.outbox.begin(encode_answer(event, answer))):
            await answering

    async def _run(self, peer: Peer, event: Event) -> str | None:
        """Send the values; return the text of the answer behind them, or ``None`` if the stream was stopped."""
        task = self._task = asyncio.current_task()
        assert task is not None
        self.event = event
        streams = _running.setdefault(peer.id, set())
        streams.add(self)
        answer = None
        try:
            if peer.disconnect is None:
                answer = await self._send(peer, event)
        except asyncio.CancelledError:
            if not self._is_stopped:
                raise
        finally:
            streams.discard(self)
            if not streams:
                _running.pop(peer.id, None)
            is_cancelled = self._is_stopped and task.uncancel() > 0  # by another than stop() as well
            await self.close()
        if is_cancelled:
            raise asyncio.CancelledError
        return None if self._is_stopped else answer

    async def close(self) -> None:
        """Close the generator, and the one that it is around; it must not run."""
        try:
            await self.generator.aclose()
        finally:
            if self._inner is not None:
                await self._inner.close()

    def stop(self) -> None:
        """Close the generator, in the task that runs it."""
        if self._task is not None and not self._is_stopped:
            self._is_stopped = True
            self._task.cancel()

    def end(self, peer: Peer, reason: EventFailed) -> None:
        """Send a failure in place of the rest, and close the generator."""
        if self._is_stopped:
            return
        if self.event is not None and self.event.ack_id:
            peer.deliver(encode_failure(self.event, reason))
        if self._task is asyncio.current_task():
            self._is_stopped = True  # at its next value: the generator itself ends the membership, and must finish that
        else:
            self.stop()

    async def _send(self, peer: Peer, event: Event) -> str:
        is_plain = extensions_of(peer.scope) != ROOMS_SUBPROTOCOL
        parts = _Parts(self._writer)
        count = 0
        async for value in self.generator:
            if self._is_stopped:
                break
            if event.ack_id:
                text = await self._text_of(value, peer)
                if is_plain:
                    parts.add(value, text)
                elif (writing := peer.outbox.begin(encode_part(event, text))) is not None:
                    await writing
            count += 1
            if not count % _IN_A_ROW:
                await asyncio.sleep(0)
        return parts.joined()

    async def _text_of(self, value: object, peer: Peer) -> str:
        if self._writer is None:
            return to_text(value)
        if self._writer.uses_database:
            return str(await run_handler(self._writer.write, value, owner=peer.id))
        return self._writer.write(value)


class _Parts:
    """The parts of an answer to a client that gets them together."""

    def __init__(self, writer: Writer | None) -> None:
        self._writer = writer
        self._values: list[Any] = []
        self._texts: list[str] = []
        self._size = 0

    def add(self, value: object, text: str) -> None:
        self._values.append(value)
        self._texts.append(text)
        self._size += len(text)
        if self._size > (limit := get_settings().max_outbox):
            raise EtpError(
                f"A streamed answer holds more than {limit:,} characters, which its client would get as one, since it "
                "does not speak etp.ext.v2. End the generator earlier, or raise ETP['MAX_OUTBOX']."
            )

    def joined(self) -> str:
        """Return all parts as one text, or as a JSON list."""
        if isinstance(self._writer, Text) or (
            self._writer is None and all(isinstance(value, str | Promise) for value in self._values)
        ):
            return "".join(self._texts)
        if self._writer is None:
            return to_text(self._values)
        return f"[{','.join(text or 'null' for text in self._texts)}]" if self._texts else ""


def stop_stream(connection_id: str, ack_id: int) -> None:
    """Stop the streamed answer with this number, if one runs."""
    for stream in tuple(_running.get(connection_id, ())):
        if stream.event is not None and stream.event.ack_id == ack_id:
            stream.stop()


def stop_streams(connection_id: str) -> None:
    """Stop all streamed answers of a connection."""
    for stream in tuple(_running.get(connection_id, ())):
        stream.stop()


def end_streams(peer: Peer, room: str, reason: EventFailed) -> None:
    """End the streamed answers to events inside a declared room, in which the connection is no more."""
    for stream in tuple(_running.get(peer.id, ())):
        found = None if stream.event is None else read_in_room(stream.event)
        if found is not None and found[0] == room:
            stream.end(peer, reason)
