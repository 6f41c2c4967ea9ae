"""A server whose side of declared rooms a test of the Python client plays itself."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from django_etp.client import EtpClient
from django_etp.client.room import ClientRoom
from django_etp.exceptions import EventFailed

WAIT = 10.0
V2, V1 = "etp.ext.v2", "etp.ext.v1"


class Peer:
    """The server's side, which speaks one of the subprotocols; ``accepted`` gives its connections."""

    def __init__(self, port: int, accepted: "asyncio.Queue[ServerConnection]") -> None:
        self._port = port
        self.accepted = accepted

    def client(self, **options: Any) -> EtpClient:
        return EtpClient(
            f"ws://127.0.0.1:{self._port}/", proxy=None, reconnect_delays=lambda: iter([0.01] * 100), **options
        )

    async def accept(self) -> ServerConnection:
        async with asyncio.timeout(WAIT):
            return await self.accepted.get()


@asynccontextmanager
async def start_peer(subprotocol: str = V2) -> AsyncIterator[Peer]:
    accepted: asyncio.Queue[ServerConnection] = asyncio.Queue()

    async def handle(connection: ServerConnection) -> None:
        await connection.send('__hello||0||{"id": "abc"}')
        accepted.put_nowait(connection)
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, subprotocols=[subprotocol], compression=None) as server:  # type: ignore[list-item]
        yield Peer(server.sockets[0].getsockname()[1], accepted)


async def receive(connection: ServerConnection) -> str:
    async with asyncio.timeout(WAIT):
        return str(await connection.recv())


async def join(room: ClientRoom, connection: ServerConnection, state: object = None, ack: int = 1) -> Any:
    """Join a room, whose state the peer answers."""
    joining = asyncio.ensure_future(room.join())
    assert await receive(connection) == f'__join||{ack}||{{"room":"{room.name}"}}'
    await connection.send(f"__ack___join||{ack}||{json.dumps({'state': state})}")
    async with asyncio.timeout(WAIT):
        return await joining


async def pong(client: EtpClient, connection: ServerConnection) -> None:
    """Wait until the client has read all that the peer sent before."""
    await connection.send("__ping||77")
    assert await receive(connection) == "__ack___ping||77"


async def refused(joining: "asyncio.Future[Any]") -> EventFailed:
    with pytest.raises(EventFailed) as refusal:
        async with asyncio.timeout(WAIT):
            await joining
    return refusal.value
