"""The transport is found behind the ``send`` of a server that holds one, and nowhere else."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.connections.asgi import with_trailing_delimiter
from django_etp.connections.transport import transport_of


class Server:
    def __init__(self, transport: Any) -> None:
        self.transport = transport

    async def send(self, message: dict[str, Any]) -> None:
        pass


async def test_an_asyncio_transport_is_found() -> None:
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        _, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        assert transport_of(Server(writer.transport).send) is writer.transport
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("transport", [None, "text", SimpleNamespace(abort=print)])
def test_other_attributes_are_none(transport: Any) -> None:
    assert transport_of(Server(transport).send) is None


def test_another_send_has_none() -> None:
    server = Server(SimpleNamespace(abort=print, get_write_buffer_size=print))
    assert transport_of(partial(server.send)) is None
    assert transport_of(with_trailing_delimiter(server.send)) is None
