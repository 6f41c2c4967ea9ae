"""A transport in memory, and the server's side of a WebSocket on it, without a server."""

import asyncio
from typing import Any, Self

from uvicorn.config import Config
from uvicorn.server import ServerState
from websockets.utils import generate_key

from django_etp.uvicorn import Protocol
from tests.support.frames import frame, frames_of

__all__ = ["Link", "MemoryTransport"]


class MemoryTransport(asyncio.Transport):
    """Keeps what is written.

    Attributes:
        writes: what each call of write() wrote.
        buffered: what get_write_buffer_size() returns; unless it is 0, close() waits for abort().
        has_eof, is_aborted, is_reading_paused: what was called.
    """

    def __init__(self, **extra: Any) -> None:
        super().__init__({"peername": ("203.0.113.1", 5), "sockname": ("127.0.0.1", 80), **extra})
        self.protocol: asyncio.Protocol | None = None
        self.writes: list[bytes] = []
        self.buffered = 0
        self.is_reading_paused = self.has_eof = self.is_aborted = self._is_closing = False

    def write(self, data: Any) -> None:
        assert not self._is_closing
        assert not self.has_eof
        self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        assert not self._is_closing  # with TLS it may fail then
        return self.buffered

    def can_write_eof(self) -> bool:
        return self.get_extra_info("sslcontext") is None

    def write_eof(self) -> None:
        assert self.can_write_eof()
        self.has_eof = True

    def pause_reading(self) -> None:
        assert not self.is_reading_paused
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        assert self.is_reading_paused
        self.is_reading_paused = False

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            if not self.buffered:
                self._lose()

    def abort(self) -> None:
        if not self.is_aborted:
            self.is_aborted = True
            if self.buffered or not self._is_closing:
                self._lose()
            self._is_closing = True

    def _lose(self) -> None:
        assert self.protocol is not None
        asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


class Link:
    """A client's view of one connection whose application is ``app``.

    Args:
        app: the application.
        options: of uvicorn.
        extra: information of the transport.
    """

    def __init__(self, app: Any, *, extra: dict[str, Any] | None = None, **options: Any) -> None:
        self.config = Config(app, log_config=None, interface="asgi3", **{"ws_ping_interval": None, **options})
        self.config.load()
        self.state = ServerState()
        self.transport = MemoryTransport(**(extra or {}))
        self.protocol = Protocol(config=self.config, server_state=self.state, app_state={"started": 1})
        self.transport.protocol = self.protocol

    def request(self, *headers: str, target: str = "/ws/") -> Self:
        """Send the request of a handshake."""
        self.protocol.connection_made(self.transport)
        lines = [f"GET {target} HTTP/1.1", "host: testserver", "upgrade: websocket", "connection: Upgrade"]
        lines += ["sec-websocket-version: 13", f"sec-websocket-key: {generate_key()}", *headers]
        self.protocol.data_received("\r\n".join([*lines, "", ""]).encode())
        return self

    async def open(self, *headers: str) -> Self:
        """Do the handshake."""
        self.request(*headers)
        await self.until(lambda: self.transport.writes)
        assert self.transport.writes.pop(0).startswith(b"HTTP/1.1 101 ")
        return self

    def send(self, *frames: bytes) -> None:
        """Send frames, which arrive at once."""
        self.protocol.data_received(b"".join(frames))

    def send_text(self, text: str) -> None:
        self.send(frame(1, text.encode()))

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """What the server has written, as first byte and payload."""
        return frames_of(b"".join(self.transport.writes))

    async def until(self, holds: Any) -> None:
        """Let the loop turn until a condition holds."""
        async with asyncio.timeout(10):
            while not holds():  # noqa: ASYNC110  # whatever it looks at
                await asyncio.sleep(0)

    async def ended(self) -> None:
        """Wait until the transport is closed and the application has returned."""
        await self.until(lambda: self.transport.is_closing() and not self.state.tasks and not self.state.connections)
