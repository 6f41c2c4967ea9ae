"""Count the events and the frames of one connection, while a live page is open.

Rules kept here:

- A connection without a meter has no counters, and its frames cost nothing more.
- A meter stands between the outbox and the server. It changes neither the order of writes nor their time.
- What looks behind ``send`` for the transport of the server still finds it.
"""

import functools
from asyncio import Future
from collections.abc import Awaitable, Callable
from typing import Any

from .asgi import Send
from .direct import Server
from .peer import Peer

__all__ = ["Meter"]


class Meter:
    """Counts for one connection until remove(); a connection has one meter at most.

    Attributes:
        peer: the connection.
        events: how many of its events were handled; the owner of the meter counts them.
        frames: how many frames the server took for its client.
    """

    __slots__ = ("_send", "_server", "events", "frames", "peer")

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.events = self.frames = 0
        outbox = peer.outbox
        self._send, self._server = outbox._send, outbox._server
        outbox._send = self._counting(outbox._send)
        if outbox._server is not None:
            outbox._server = _CountingServer(outbox._server, self)

    def remove(self) -> None:
        """Count no more."""
        outbox = self.peer.outbox
        outbox._send, outbox._server = self._send, self._server

    def _counting(self, send: Send) -> Send:
        @functools.wraps(getattr(send, "__wrapped__", send))
        def count(message: dict[str, Any]) -> Awaitable[None]:
            if "text" in message:
                self.frames += 1
            return send(message)

        return count


class _CountingServer:
    """Offers the calls of a server; see direct.py."""

    __slots__ = ("_meter", "_server")

    def __init__(self, server: Server, meter: Meter) -> None:
        self._server = server
        self._meter = meter

    def receive_by(self, take: Callable[[str | bytes], bool]) -> Future[dict[str, Any] | None]:
        """See Server."""
        return self._server.receive_by(take)

    def offer(self, text: str) -> bool:
        """See Server."""
        is_sent = self._server.offer(text)
        self._meter.frames += is_sent
        return is_sent
