"""The method of the client that reads streamed answers."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from django_etp.protocol.frames import Event, check_event_name
from django_etp.protocol.pending_streams import PendingStreams

from .content import text_of

__all__ = ["stream"]


class Connected(Protocol):
    """A connection of the client."""

    streams: PendingStreams


class Client(Protocol):
    """The client, as its method stream() uses it."""

    _ack_timeout: float

    def _current(self) -> Connected: ...


async def stream(
    self: Client, event: str, data: object = None, *, timeout: float | None = None
) -> AsyncGenerator[Event, None]:
    """Send an event and yield the parts of its streamed answer, as events, while they arrive.

    An answer that is not streamed, as from a server without ``etp.ext.v2``, is the only part, unless it is empty. If
    the loop ends early, the server is asked to stop, at the latest when the generator is closed:
    ``async with aclosing(client.stream("ask")) as parts``. ``timeout`` is how long each part may take, in seconds,
    ``ack_timeout`` by default. A loop that takes no part for long holds up all that the client reads.

    Raises:
        AckTimeout: no further part, and no end, came in time.
        ConnectionClosed, InvalidEventName, InvalidPayload: see emit().
        EventFailed: the server sent a failure, maybe after some parts.
    """
    check_event_name(event)
    seconds = self._ack_timeout if timeout is None else timeout
    async with aclosing(self._current().streams.read(event, text_of(data), seconds)) as parts:
        async for part in parts:
            yield part
