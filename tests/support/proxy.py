"""A TCP proxy, in a thread of its own, that resets, holds, delays, buffers or refuses the connections to a port."""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CHUNK = 65_536


class Proxy:
    """A proxy to loopback ports, to each in turn; made by `start_proxy`."""

    def __init__(self, targets: tuple[int, ...], loop: asyncio.AbstractEventLoop) -> None:
        self.port = 0
        self.targets = deque(targets)  # of later connections
        self.delay = 0.0  # of what passes from now on, in each direction, in seconds
        self.is_refusing = False
        self.buffer = 0  # after the first of each direction, bytes pass once there are so many
        self._loop = loop
        self._passes = asyncio.Event()
        self._passes.set()
        self._writers: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Reset all connections; what is on its way is lost."""
        self._call(lambda: [writer.transport.abort() for writer in tuple(self._writers)])

    def hold(self) -> None:
        """Let nothing pass until release(); connections stay open, and new ones are accepted."""
        self._call(self._passes.clear)

    def release(self) -> None:
        """Let everything pass that was held."""
        self._call(self._passes.set)

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def _call(self, function: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(function)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_refusing:
            writer.transport.abort()
            return
        with contextlib.suppress(OSError):
            target = self.targets[0]
            self.targets.rotate(-1)
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(self._copy(reader, target_writer), self._copy(target_reader, writer))
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            is_first, kept = True, b""
            while data := await reader.read(_CHUNK):
                if self.buffer and not is_first:
                    kept += data
                    if len(kept) < self.buffer:
                        continue
                    data, kept = kept, b""
                is_first = False
                if self.delay:
                    await asyncio.sleep(self.delay)
                await self._passes.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()


@contextmanager
def start_proxy(*targets: int) -> Iterator[Proxy]:
    """Run a proxy to one or several loopback ports until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="proxy")
    thread.start()
    proxy = Proxy(targets, loop)
    server = asyncio.run_coroutine_threadsafe(proxy.listen(), loop).result(10)

    async def end() -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
