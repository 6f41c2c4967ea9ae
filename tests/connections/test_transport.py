"""The transport is found behind the ``send`` of uvicorn and daphne, and nowhere else."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.connections.asgi import Send, with_trailing_delimiter
from django_etp.connections.transport import abort, unsent_bytes


class Uvicorn:
    """``send`` is a method of the protocol, as on uvicorn."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    async def send(self, message: dict[str, Any]) -> None:
        pass


class Daphne:
    """``send`` is a partial with the protocol, as on daphne."""

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        pass

    def send_to(self, transport: Any) -> Send:
        return partial(self.handle_reply, SimpleNamespace(transport=transport))


async def test_an_asyncio_transport_is_found() -> None:
    listener = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    async with listener:
        _, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
        for send in (Uvicorn(writer.transport).send, with_trailing_delimiter(Uvicorn(writer.transport).send)):
            assert unsent_bytes(send) == 0
        abort(Uvicorn(writer.transport).send)
        assert writer.transport.is_closing()


def test_a_twisted_transport_is_found() -> None:
    closed: list[str] = []
    send = Daphne().send_to(SimpleNamespace(abortConnection=lambda: closed.append("aborted")))
    assert unsent_bytes(send) is None
    abort(send)
    assert closed == ["aborted"]


@pytest.mark.parametrize("transport", [None, "text", SimpleNamespace(abort="text")])
def test_other_attributes_are_no_transport(transport: Any) -> None:
    for send in (Uvicorn(transport).send, Daphne().send_to(transport)):
        assert unsent_bytes(send) is None
        abort(send)


def test_a_middleware_hides_it() -> None:
    server = Uvicorn(SimpleNamespace(get_write_buffer_size=lambda: 7))

    async def wrapper(message: dict[str, Any]) -> None:
        await server.send(message)

    assert unsent_bytes(server.send) == 7
    assert unsent_bytes(wrapper) is None
