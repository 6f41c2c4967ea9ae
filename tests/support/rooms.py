"""Clients in rooms, in the test's own process."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from django_etp import Connection, on_connect, rooms
from django_etp.testing import EtpCommunicator

Call = Callable[..., Awaitable[Any]]


class RoomClient(EtpCommunicator):
    """A test client that knows the connection at the other end."""

    connection: Connection

    @property
    def id(self) -> str:
        return self.connection.id

    async def names(self, count: int) -> list[str]:
        """Return the names of the next events, after which nothing more came."""
        names = [(await self.expect_event()).name for _ in range(count)]
        await self.expect_nothing(timeout=0.01)
        return names


@contextlib.asynccontextmanager
async def clients(*members_of: str, namespace: str = "default", **options: Any) -> AsyncIterator[list[RoomClient]]:
    """Connect a client for each argument, which names the rooms it joins."""
    connections: list[Connection] = []

    @on_connect(namespace=namespace)
    async def keep(connection: Connection) -> None:
        connections.append(connection)

    async with contextlib.AsyncExitStack() as stack:
        connected = []
        for names in members_of:
            client = RoomClient(namespace=namespace, **options)
            await stack.enter_async_context(client)
            client.connection = connections[-1]
            await client.connection.ajoin(*names.split())
            connected.append(client)
        yield connected


async def got(*clients: RoomClient) -> list[list[str]]:
    """Return what each client got until now, by the events' names."""
    for client in clients:
        await rooms.of(client.connection.namespace).aemit_to(client.id, "end")
    result = []
    for client in clients:
        names = []
        while (name := (await client.expect_event()).name) != "end":
            names.append(name)
        result.append(names)
    return result


async def answering(client: RoomClient, data: object = None) -> None:
    """Answer the event "question", which must come next."""
    await client.answer(await client.expect_event("question"), data)
