"""The threads of handshakes: they wait for nobody else's, are bounded, and leave nothing behind."""

import asyncio
import threading
import time
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth.models import AnonymousUser

from django_etp import Connection, Event, etp_event
from django_etp.consumers import EtpConsumer
from django_etp.handshakes import HandshakeThreads
from tests.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


class Middleware:
    """Asks something synchronous of a thread, as Channels' does of the database."""

    def __init__(self, inner: Any, ask: Any) -> None:
        self.inner = inner
        self.ask = ask

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope = {**scope, "user": AnonymousUser(), "told": await sync_to_async(self.ask)()}
        await self.inner(scope, receive, send)


def wire(ask: Any, *, limit: int = 8, inner: Any = None) -> Wire:
    wire = Wire()
    wire.application = HandshakeThreads(Middleware(inner or EtpConsumer.as_asgi(), ask), limit=limit)
    return wire


async def test_a_handshake_does_not_wait_for_asgirefs_shared_thread() -> None:
    door = threading.Event()
    busy = asyncio.create_task(sync_to_async(door.wait)(10))
    try:
        began = time.monotonic()
        async with wire(threading.current_thread):
            assert time.monotonic() - began < 5
            assert not busy.done()
    finally:
        door.set()
        await busy


async def test_the_thread_is_the_handshakes_alone_and_ends_with_it() -> None:
    @etp_event("thread")
    async def tell(connection: Connection, event: Event) -> bool:
        own = connection.scope["told"]
        return own.is_alive() or await sync_to_async(threading.current_thread)() is own

    shared = await sync_to_async(threading.current_thread)()
    async with wire(threading.current_thread) as client:
        client.put("thread||1")
        assert await client.text() == "__ack_thread||1||false"

        @etp_event("shared")
        async def tell_shared(connection: Connection, event: Event) -> bool:
            return await sync_to_async(threading.current_thread)() is shared

        client.put("shared||2")
        assert await client.text() == "__ack_shared||2||true"


async def test_no_more_handshakes_are_on_the_way_than_the_limit_says() -> None:
    door, inside, most = threading.Event(), [], []

    def ask() -> None:
        inside.append(1)
        most.append(len(inside))
        door.wait(10)
        inside.pop()

    first = wire(ask, limit=2)
    clients = [first.start()]
    for _ in range(4):
        client = Wire()
        client.application = first.application
        clients.append(client.start())
    await until(lambda: len(inside) == 2)
    await asyncio.sleep(0.1)
    door.set()
    for client in clients:
        assert (await client.next())["type"] == "websocket.accept"
        await client.leave()
    assert max(most) == 2


async def test_a_consumer_of_another_kind_keeps_no_other_handshake_waiting() -> None:
    async def other(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await receive()

    first = wire(lambda: None, limit=1, inner=other)
    second = Wire()
    second.application = first.application
    async with first, second:
        pass


async def test_a_handshake_that_fails_leaves_its_place_to_others() -> None:
    fails = [True]

    def ask() -> None:
        if fails.pop():
            raise ZeroDivisionError

    first = wire(ask, limit=1)
    with pytest.raises(ZeroDivisionError):
        await first.start().task
    fails.append(False)
    second = Wire()
    second.application = first.application
    async with second:
        pass


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("etp_communicator")
async def test_it_wraps_the_middleware_of_channels() -> None:
    client = Wire()
    client.application = HandshakeThreads(AuthMiddlewareStack(EtpConsumer.as_asgi()))
    del client.scope["user"]
    async with client:
        pass


def test_a_limit_of_none_at_once_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        HandshakeThreads(EtpConsumer.as_asgi(), limit=0)
