"""The transport is found behind the ``send`` of uvicorn and daphne, and nowhere else."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.server import ServerProtocol

from django_etp.connections.asgi import Send, with_trailing_delimiter
from django_etp.connections.transport import (
    abort,
    keep_short,
    limit_message_size,
    pause_reading,
    unbounded_queue,
    unsent_bytes,
)
from tests.support.transports import Link


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


async def test_a_protocol_of_django_etp_uvicorn_shows_its_buffers_and_its_limit() -> None:
    link = Link(None).request()
    send = with_trailing_delimiter(link.protocol.send)
    link.transport.buffered = 7
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": "12||0||"})
    assert unsent_bytes(send) == 7 + len(link.protocol._outgoing.frames[0])
    limit_message_size(send, 500)
    assert link.protocol.max_size == 500
    abort(send)
    assert link.transport.is_aborted


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


# Reading


class TwistedTransport:
    """A transport with the two methods of Twisted's that pause and resume reading."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def pauseProducing(self) -> None:
        self.calls.append("pause")

    def resumeProducing(self) -> None:
        self.calls.append("resume")


def test_a_twisted_transport_is_paused_and_resumed() -> None:
    transport = TwistedTransport()
    resume = pause_reading(Daphne().send_to(transport))
    assert transport.calls == ["pause"]
    assert resume is not None
    resume()
    assert transport.calls == ["pause", "resume"]


@pytest.mark.parametrize("transport", [None, SimpleNamespace(), SimpleNamespace(pauseProducing=print)])
def test_other_transports_are_not_paused(transport: Any) -> None:
    assert pause_reading(Daphne().send_to(transport)) is None


def test_the_queue_of_daphne_is_found_and_no_other() -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    send = Daphne().send_to(TwistedTransport())
    assert unbounded_queue(queue.get, send) is queue

    async def wrapper() -> dict[str, Any]:
        return dict(await queue.get())

    assert unbounded_queue(wrapper, send) is None
    assert unbounded_queue(queue.get, Uvicorn(None).send) is None


def test_a_long_queue_pauses_the_socket_until_it_is_empty() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    transport = TwistedTransport()
    send = Daphne().send_to(transport)
    for number in range(100):
        queue.put_nowait(number)
    assert keep_short(queue, send, None) is None
    queue.put_nowait(100)
    resume = keep_short(queue, send, None)
    assert transport.calls == ["pause"]
    while not queue.empty():
        assert resume is not None
        queue.get_nowait()
        resume = keep_short(queue, send, resume)
    assert resume is None
    assert transport.calls == ["pause", "resume"]


# The size of messages


@pytest.mark.parametrize(("before", "after"), [(1000, 500), (None, 500), (400, 400)])
def test_the_limit_of_uvicorn_is_lowered_and_never_raised(before: int | None, after: int) -> None:
    sansio, legacy = Uvicorn(None), Uvicorn(None)
    sansio.conn = ServerProtocol(max_size=before)  # type: ignore[attr-defined]
    legacy.max_size = before  # type: ignore[attr-defined]
    limit_message_size(sansio.send, 500)
    limit_message_size(legacy.send, 500)
    assert sansio.conn.max_message_size == after  # type: ignore[attr-defined]
    assert legacy.max_size == after  # type: ignore[attr-defined]


def test_servers_without_such_a_limit_are_left_alone() -> None:
    server = Uvicorn(None)
    limit_message_size(server.send, 500)
    limit_message_size(Daphne().send_to(None), 500)
    assert vars(server) == {"transport": None}
