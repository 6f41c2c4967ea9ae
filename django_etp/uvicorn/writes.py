"""Write what a connection sends in one turn of the event loop with one system call.

A turn is one pass over the callbacks that are ready. Answers to the events of one read, and the events of one handler,
are mostly made in one turn.
"""

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

from .texts import Texts

__all__ = ["Writes"]


class _Connection(Protocol):
    def flush(self) -> None:
        """Write what was sent in this turn."""


class Writes:
    """The connections of one event loop that have sent something in this turn.

    Attributes:
        texts: makes the frames of texts.
    """

    __slots__ = ("_connections", "texts")

    def __init__(self) -> None:
        self._connections: list[_Connection] = []
        self.texts = Texts()

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> "Writes":
        """Return the object of an event loop."""
        writes = _by_loop.get(loop)
        if writes is None:
            writes = _by_loop[loop] = Writes()
        return writes

    def add(self, connection: _Connection) -> None:
        """Flush a connection at the end of this turn."""
        if not self._connections:
            asyncio.get_running_loop().call_soon(self._flush)
        self._connections.append(connection)

    def _flush(self) -> None:
        connections, self._connections = self._connections, []
        self.texts.forget()
        for connection in connections:
            connection.flush()


_by_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, Writes] = WeakKeyDictionary()
