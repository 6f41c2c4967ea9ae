"""A WebSocket client that costs little more than its bytes: no real masking, no checks, no pings.

It masks with the key 0, which leaves the data unchanged. For the server it is a mask like any other.
"""

import asyncio
import socket
import zlib
from collections.abc import Callable
from contextlib import suppress

from .wire import Dialect

__all__ = ["Peer", "connect", "disconnect", "message", "message_of_server"]

_TEXT, _PACKED, _CLOSE, _PING, _PONG = 0x81, 0xC1, 0x88, 0x89, 0x8A
_LIMIT = 30.0
_AT_ONCE = 50


class Peer(asyncio.Protocol):
    """One connection.

    Attributes:
        on_message: called with each text message.
        on_packed: called with each compressed message; by default that is unpacked for on_message. Once anything else
            was called, the messages behind it can no longer be unpacked if the server refers to earlier ones.
        on_data: called with all received bytes before they are parsed; returns those that are still to be parsed.
        is_accepted: done after the handshake; fails if it was refused.
    """

    def __init__(self, dialect: Dialect, request: bytes) -> None:
        self.dialect = dialect
        self.on_message: Callable[[bytes], None] = self._take_answer
        self.on_packed: Callable[[bytes], None] = self._unpack
        self.on_data: Callable[[bytes], bytes] | None = None
        self.transport: asyncio.Transport
        loop = asyncio.get_running_loop()
        self.is_accepted: asyncio.Future[None] = loop.create_future()
        self.is_gone: asyncio.Future[None] = loop.create_future()
        self._request = request
        self._is_open = False
        self._rest = b""
        self._stream: zlib._Decompress | None = None  # made with the first compressed message
        self._greeted: asyncio.Future[None] = loop.create_future()
        self._answer: asyncio.Future[bytes] | None = None

    # Called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.transport.write(self._request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.is_accepted.done():
            self.is_accepted.set_exception(ConnectionError(f"The handshake failed: {self._rest[:200]!r}"))
        self.is_gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        elif self.on_data is not None:
            data = self.on_data(data)
        if not self._is_open:
            head, end_of_head, data = data.partition(b"\r\n\r\n")
            if not end_of_head:
                self._rest = head
                return
            self._take_handshake(head)
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size == 126:
                start += 2
                size = int.from_bytes(data[at + 2 : start])
            elif size == 127:
                start += 8
                size = int.from_bytes(data[at + 2 : start])
            if start + size > end:
                break
            if data[at] == _TEXT:
                self.on_message(data[start : start + size])
            elif data[at] == _PACKED:
                self.on_packed(data[start : start + size])
            else:
                self._take_control(data[at], data[start : start + size])
            at = start + size
        self._rest = data[at:]

    # Called by the workloads

    @property
    def is_packed(self) -> bool:
        """Whether the server has compressed a message."""
        return self._stream is not None

    async def ask(self, name: str, data: str = "", *, number: int = 1, timeout: float = _LIMIT) -> str:
        """Send an event and return the data of its answer, as ETP defines it."""
        before, self.on_message = self.on_message, self._take_answer
        self._answer = asyncio.get_running_loop().create_future()
        self.send(name, data, number)
        try:
            async with asyncio.timeout(timeout):
                answer = await self._answer
        finally:
            self.on_message = before
        return answer.decode().partition(f"||{number}||")[2]

    def send(self, name: str, data: str, number: int) -> None:
        """Send an event that wants an answer."""
        before, behind = self.dialect.event(name, data)
        self.transport.write(message(b"%b%d%b" % (before, number, behind)))

    def wait_for(self, size: int) -> None:
        """Receive data only when this many bytes are there, if the platform can; each change costs a system call."""
        if hasattr(socket, "SO_RCVLOWAT"):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def close(self) -> None:
        """Send a close frame; the server ends the connection."""
        self.transport.write(bytes([_CLOSE, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xE8]))

    async def greet(self) -> None:
        """Exchange greetings, if the dialect has any."""
        if self.dialect.greeting:
            self.transport.write(message(self.dialect.greeting))
            await self._greeted

    # Internal

    def _take_handshake(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionError(f"The handshake was refused: {head[:200]!r}")
        self._is_open = True
        self.is_accepted.set_result(None)

    def _take_answer(self, payload: bytes) -> None:
        if payload == self.dialect.ping:
            self.transport.write(message(self.dialect.pong))
        elif self.dialect.greeting and payload.startswith(self.dialect.greeting):
            self._greeted.set_result(None)
        elif self._answer is not None and not self._answer.done() and self.dialect.answered(payload):
            self._answer.set_result(payload)

    def _unpack(self, payload: bytes) -> None:
        if self._stream is None:
            self._stream = zlib.decompressobj(wbits=-15)
        self.on_message(self._stream.decompress(payload + b"\x00\x00\xff\xff"))

    def _take_control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.transport.write(bytes([_PONG, 0x80 | len(payload), 0, 0, 0, 0]) + payload)
        elif opcode == _CLOSE:
            self.transport.close()
        elif opcode != _PONG:
            raise ConnectionError(f"A frame that this client does not read: {opcode:#x}")


def message(payload: bytes) -> bytes:
    """Return the WebSocket frame of a text message, as a client sends it."""
    return _head(len(payload), 0x80) + b"\0\0\0\0" + payload


def message_of_server(payload: bytes) -> bytes:
    """Return the WebSocket frame of a text message, as a server sends it."""
    return _head(len(payload), 0) + payload


def _head(size: int, mask: int) -> bytes:
    if size < 126:
        return bytes([_TEXT, mask | size])
    if size < 65536:
        return bytes([_TEXT, mask | 126]) + size.to_bytes(2)
    return bytes([_TEXT, mask | 127]) + size.to_bytes(8)


async def connect(port: int, dialect: Dialect, count: int, *, headers: str = "", origin: bool = True) -> list[Peer]:
    """Open this many connections, 50 at a time.

    ``headers`` are further lines of the handshake; with ``origin`` they send an Origin header, as browsers do.
    """
    if origin:
        headers = f"Origin: http://127.0.0.1:{port}\r\n{headers}"
    request = (
        f"GET {dialect.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    peers: list[Peer] = []

    async def open_some() -> None:
        while len(peers) < count:
            peer = Peer(dialect, request)
            peers.append(peer)
            await loop.create_connection(lambda peer=peer: peer, "127.0.0.1", port)  # type: ignore[misc]
            await peer.is_accepted
            await peer.greet()

    async with asyncio.timeout(_LIMIT + count / 50), asyncio.TaskGroup() as group:
        for _ in range(min(count, _AT_ONCE)):
            group.create_task(open_some())
    return peers


async def disconnect(peers: list[Peer]) -> None:
    """Close connections and wait until the server has ended them; drop those that it does not end."""
    for peer in peers:
        if not peer.is_gone.done():
            peer.close()
    if peers:
        _, left = await asyncio.wait([peer.is_gone for peer in peers], timeout=5)
        for peer in peers:
            if peer.is_gone in left:
                peer.transport.abort()
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await asyncio.gather(*(peer.is_gone for peer in peers))
