"""Peers of a real server: `connect` uses the `websockets` library, `RawPeer` is a plain socket that can misbehave."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import Event
from websockets.typing import Origin
from websockets.uri import parse_uri

from tests.support.servers import Server

T = TypeVar("T")

WAIT = 10.0  # seconds that a peer waits for expected messages


def connect(server: Server, path: str = "/ws/", **options: Any) -> websockets_connect:
    """Return a `websockets` connection to enter or await: no compression, no pings, messages of any size."""
    defaults = {"compression": None, "max_size": None, "ping_interval": None, "proxy": None, "open_timeout": WAIT}
    return websockets_connect(server.ws_url(path), **{**defaults, **options})


async def receive(peer: ClientConnection, *, timeout: float = WAIT) -> str | bytes:
    """Return the next message of the server."""
    async with asyncio.timeout(timeout):
        return await peer.recv()


async def expect_nothing(peer: ClientConnection, *, timeout: float = 0.2) -> None:
    """Fail when the server sends a message, or closes, within `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            message = await peer.recv()
    except TimeoutError:
        return
    pytest.fail(f"expected nothing, received {message!r:.200}")


async def expect_close(peer: ClientConnection, *, timeout: float = WAIT) -> tuple[int, str]:
    """Return the server's close code and reason; 1006 if it sent no close frame."""
    try:
        async with asyncio.timeout(timeout):
            message = await peer.recv()
    except ConnectionClosed as closed:
        return (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "")
    pytest.fail(f"expected a close, received {message!r:.200}")


async def close(peer: ClientConnection) -> list[str | bytes]:
    """Close normally, and return the messages that the server had still sent."""
    await peer.close()
    messages = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(await peer.recv())
    return messages


async def eventually(
    probe: Callable[[], Awaitable[T]], holds: Callable[[T], bool], *, timeout: float = 30, interval: float = 0.1
) -> T:
    """Call `probe` until `holds` accepts its result; fail with the last result after `timeout` seconds."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not holds(answer := await probe()):
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"still {answer!r} after {timeout} s")
        await asyncio.sleep(interval)
    return answer


def recorded(server: Server, name: str) -> Callable[[], Awaitable[list[list[Any]]]]:
    """Return a probe for `eventually`: the calls of the site's hooks for peers of this name."""

    async def probe() -> list[list[Any]]:
        record: list[list[Any]] = (await asyncio.to_thread(server.get_json, f"/record/{name}/"))["record"]
        return record

    return probe


class RawPeer:
    """A WebSocket client on a plain socket, for tests that control every frame and the end.

    It answers nothing by itself, neither pings nor a close. As a context manager it resets a connection that is open.
    """

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._protocol: ClientProtocol | None = None
        self._events: list[Event] = []

    async def __aenter__(self) -> "RawPeer":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.reset()

    @classmethod
    async def open(cls, server: Server) -> "RawPeer":
        """Open the TCP connection and send nothing."""
        async with asyncio.timeout(WAIT):
            return cls(server, *await asyncio.open_connection("127.0.0.1", server.port))

    @classmethod
    async def connect(cls, server: Server, path: str = "/ws/", *, origin: str | None = None) -> "RawPeer":
        """Open the TCP connection and do the handshake; a refused one raises as `websockets` does."""
        peer = await cls.open(server)
        try:
            await peer.send_bytes(peer.handshake(path, origin=origin))
            await peer.receive_response()
        except BaseException:
            await peer.reset()
            raise
        return peer

    def handshake(self, path: str = "/ws/", *, origin: str | None = None) -> bytes:
        """Return the bytes of the handshake's request."""
        self._protocol = ClientProtocol(
            parse_uri(self._server.ws_url(path)),
            origin=None if origin is None else Origin(origin),
            max_size=None,
        )
        self._protocol.send_request(self._protocol.connect())
        return b"".join(self._protocol.data_to_send())

    async def receive_response(self) -> Response:
        """Wait for the response to the handshake; raise if it is not valid."""
        response = await self._next_event()
        assert isinstance(response, Response)
        assert self._protocol is not None
        if self._protocol.handshake_exc is not None:
            raise self._protocol.handshake_exc
        return response

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes below WebSocket."""
        self._writer.write(data)
        async with asyncio.timeout(WAIT):
            await self._writer.drain()

    async def send(self, payload: bytes, opcode: Opcode = Opcode.TEXT) -> None:
        """Send one WebSocket frame, valid or not."""
        await self.send_bytes(Frame(opcode, payload).serialize(mask=True))

    async def receive(self) -> Frame:
        """Return the next WebSocket frame of the server; raise `EOFError` if the connection ended first."""
        frame = await self._next_event()
        assert isinstance(frame, Frame)
        return frame

    async def receive_text(self) -> str:
        frame = await self.receive()
        assert frame.opcode is Opcode.TEXT, frame
        return bytes(frame.data).decode()

    async def close(self) -> None:
        """End the TCP connection normally, without a WebSocket close frame."""
        self._writer.close()
        await self._gone()

    async def reset(self) -> None:
        """Reset the TCP connection, like a peer that crashed."""
        if not self._writer.is_closing():  # the server may have ended it first
            linger_not = struct.pack("ii", 1, 0)
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
            self._writer.transport.abort()
        await self._gone()

    def stop_reading(self) -> None:
        """Do not read, so that the server's buffers fill."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def _next_event(self) -> Event:
        assert self._protocol is not None
        async with asyncio.timeout(WAIT):
            while not self._events:
                if data := await self._reader.read(65536):
                    self._protocol.receive_data(data)
                else:
                    self._protocol.receive_eof()  # may end the body of a response
                self._events += self._protocol.events_received()
                if not data and not self._events:
                    raise EOFError("the server ended the connection")
        return self._events.pop(0)

    async def _gone(self) -> None:
        with contextlib.suppress(OSError):  # the reason does not matter here
            await self._writer.wait_closed()
