"""The ASGI messages that wait for an application, and the application's wait for them.

Rules kept here:

- The number of messages that wait, and of their bytes, is limited. The last one may exceed the limit of bytes.
- The disconnect comes behind all messages, and again if the application receives after it.
"""

import asyncio
from typing import Any

__all__ = ["Incoming"]

_MAX_BYTES = 64 * 1024


class Incoming:
    """The queue of one connection.

    Args:
        max_messages: so many wait until the queue is full.

    Attributes:
        messages: those that wait, in order. A list: it is short, and takes a tenth of a deque if it is empty.
        disconnect: the last message, once there is one.
    """

    __slots__ = ("_bytes", "_max_messages", "_waiters", "disconnect", "messages")

    def __init__(self, max_messages: int) -> None:
        self.messages: list[dict[str, Any]] = []
        self.disconnect: dict[str, Any] | None = None
        self._bytes = 0  # since the queue was empty
        self._max_messages = max_messages
        self._waiters: list[asyncio.Future[None]] = []

    def put(self, message: dict[str, Any], size: int = 0) -> bool:
        """Add a message of this size; return whether the queue is full then."""
        self.messages.append(message)
        self._bytes += size
        if self._waiters:
            self._wake()
        return len(self.messages) >= self._max_messages or self._bytes > _MAX_BYTES

    def end(self, disconnect: dict[str, Any]) -> None:
        """Add the last message; the first one counts."""
        if self.disconnect is None:
            self.disconnect = disconnect
            self._wake()

    def pop(self) -> dict[str, Any]:
        """Remove and return the next message; there must be one."""
        message = self.messages.pop(0)
        if not self.messages:
            self._bytes = 0
        return message

    async def wait(self) -> None:
        """Wait until there is something to receive."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
