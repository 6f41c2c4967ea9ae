"""The broker alone: the number of message copies that one core of it passes on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.harness.broker import start_broker
from benchmarks.harness.comparisons import Figure, Round, Stopwatch

__all__ = ["Copies"]

_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Copies:
    """Messages published to one channel with several subscribers, which stand for server processes.

    Attributes:
        subscribers: the number of connections that receive each message.
        messages: how many are published in a round, one at a time. Several at once would each cost the broker less.
        size: bytes of each.
    """

    subscribers: int
    messages: int = 2000
    size: int = 200
    unit: str = "copies per s of the broker's core"

    @property
    def title(self) -> str:
        return "copies that the broker passes on"

    @asynccontextmanager
    async def load(self, site: Any) -> AsyncIterator[Round]:
        """See Work.load(); the site is not used."""
        with start_broker() as broker:
            loop = asyncio.get_running_loop()
            hearing = [
                (await loop.create_connection(_Subscriber, "127.0.0.1", broker.port))[1]
                for _ in range(self.subscribers)
            ]
            reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
            publish = _command(b"PUBLISH", b"room", b"x" * self.size)

            async def burst() -> Figure:
                watch = Stopwatch([broker.process])
                with watch.running():
                    for _ in range(self.messages):
                        writer.write(publish)
                        await reader.readline()
                for each in hearing:
                    async with asyncio.timeout(_TIMEOUT):
                        await each.hear(self.messages * len(_command(b"message", b"room", b"x" * self.size)))
                copies = self.messages * self.subscribers
                return Figure(copies / (watch.seconds * watch.servers), 0, watch.client)

            for each in hearing:
                await each.hear(1)
            try:
                yield burst
            finally:
                for each in hearing:
                    each.transport.abort()
                writer.close()


class _Subscriber(asyncio.Protocol):
    """Subscribe to a channel and count the bytes received from it."""

    def __init__(self) -> None:
        self._received = 0
        self._came = asyncio.Event()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.write(_command(b"SUBSCRIBE", b"room"))

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        self._came.set()

    async def hear(self, size: int) -> None:
        """Wait until this many bytes have arrived, and reset the count."""
        while self._received < size:
            self._came.clear()
            await self._came.wait()
        self._received = 0


def _command(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
