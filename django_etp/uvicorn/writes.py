"""Write what a connection sends in one turn of the event loop with one system call.

A turn is one pass over the callbacks that are ready. Answers to the events of one read, and the events of one handler,
are mostly made in one turn.

While one client alone sends, its answers do not wait for the end of the turn. If many do, a write between two reads
would make both slower.
"""

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

from .texts import Texts

__all__ = ["Writes"]


class _Connection(Protocol):
    frames: list[bytes]

    def flush(self) -> None:
        """Write what was sent in this turn."""


class Writes:
    """The connections of one event loop that have sent something in this turn.

    Attributes:
        reading: the connection that is being read. Do not add() it.
        texts: makes the frames of texts.
    """

    __slots__ = ("_connections", "_is_quiet", "_is_scheduled", "_reads", "reading", "texts")

    def __init__(self) -> None:
        self._connections: list[_Connection] = []
        self._is_scheduled = False
        self.reading: _Connection | None = None
        self._reads = 0  # in this turn
        self._is_quiet = False  # whether one connection alone was read in the last turn in which any was
        self.texts = Texts()

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> "Writes":
        """Return the object of an event loop."""
        writes = _by_loop.get(loop)
        if writes is None:
            writes = _by_loop[loop] = Writes()
        return writes

    def add(self, connection: _Connection) -> None:
        """Flush a connection at the end of this turn. One that is being read is flushed by end_read()."""
        if not self._is_scheduled:
            self._schedule()
        self._connections.append(connection)

    def end_read(self, connection: _Connection) -> None:
        """Flush the connection that was being read: at once if all others are quiet.

        If nothing was sent to it yet, flush behind the callbacks that the read has made ready.
        """
        self.reading = None
        self._reads += 1
        is_first = not self._is_scheduled
        if is_first:
            self._schedule()
        if connection.frames:
            if is_first and self._is_quiet:
                connection.flush()
            else:
                self._connections.append(connection)

    def _schedule(self) -> None:
        self._is_scheduled = True
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        connections, self._connections = self._connections, []
        self._is_scheduled = False
        if self._reads:
            self._is_quiet = self._reads == 1
            self._reads = 0
        self.texts.forget()
        for connection in connections:
            connection.flush()


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Writes] = WeakKeyDictionary()
