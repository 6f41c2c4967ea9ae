"""The messages of a client on their way to an application: passed on by calls, or kept until they are received.

Rules kept here:

- The number of messages that wait, and of their bytes, is limited. The last one may exceed the limit of bytes.
- The disconnect comes behind all messages, and again if the application receives after it.
- What is passed on by calls keeps its order: nothing is passed on while a message waits.
"""

import asyncio
from collections.abc import Callable
from typing import Any

__all__ = ["Incoming", "Message", "Take"]

Message = dict[str, Any]
Take = Callable[[str | bytes], bool]

_MAX_BYTES = 64 * 1024


def _no_receiver(_data: str | bytes) -> bool:
    """Take the place of a receiver while there is none; never called."""
    return False


class Incoming:
    """The queue of one connection.

    Args:
        max_messages: so many wait until the queue is full.

    Attributes:
        messages: those that wait, in order. A list: it is short, and takes a tenth of a deque if it is empty.
        disconnect: the last message, once there is one.
    """

    __slots__ = ("_bytes", "_max_messages", "_passed", "_take", "_waiters", "disconnect", "messages")

    def __init__(self, max_messages: int) -> None:
        self.messages: list[Message] = []
        self.disconnect: Message | None = None
        self._bytes = 0  # since the queue was empty
        self._max_messages = max_messages
        self._waiters: list[asyncio.Future[None]] = []
        self._take: Take = _no_receiver
        self._passed: asyncio.Future[Message | None] | None = None  # the result of pass_to()

    def put(self, data: str | bytes) -> bool:
        """Pass on the data of a message, or keep it; return whether the queue is full then."""
        if (passed := self._passed) is not None and not passed.done():
            try:
                if self._take(data):
                    self._stop_passing(passed.set_result, None)
            except Exception as error:  # of the application, and nothing for the transport, which called this
                self._stop_passing(passed.set_exception, error)
            return False
        self._take, self._passed = _no_receiver, None  # the receiver may have been cancelled
        self.messages.append({"type": "websocket.receive", "text" if type(data) is str else "bytes": data})
        self._bytes += len(data)
        if self._waiters:
            self._wake()
        return len(self.messages) >= self._max_messages or self._bytes > _MAX_BYTES

    def end(self, disconnect: Message) -> None:
        """Add the last message; the first one counts."""
        if self.disconnect is None:
            self.disconnect = disconnect
            self._wake()
            if self._passed is not None and not self._passed.done():
                self._passed.set_result(disconnect)
            self._take, self._passed = _no_receiver, None

    async def receive(self, read_on: Callable[[], None]) -> Message:
        """Return the next message; call ``read_on`` if none waits behind it."""
        while not self.messages:
            if self.disconnect is not None:
                return self.disconnect
            await self._wait()
        return self._pop(read_on)

    def pass_to(self, take: Take, read_on: Callable[[], None]) -> "asyncio.Future[Message | None]":
        """Pass on the data of messages until ``take()`` returns True. See ``Protocol.receive_by()``."""
        passed: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        while self.messages:
            message = self._pop(read_on)
            if take(message["text"] if "text" in message else message["bytes"]):
                passed.set_result(None)
                return passed
        if self.disconnect is None:
            self._take, self._passed = take, passed
        else:
            passed.set_result(self.disconnect)
        return passed

    def _pop(self, read_on: Callable[[], None]) -> Message:
        message = self.messages.pop(0)
        if not self.messages:
            self._bytes = 0
            read_on()
        return message

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)

    def _stop_passing(self, end: Callable[[Any], None], value: object) -> None:
        self._take, self._passed = _no_receiver, None
        end(value)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
