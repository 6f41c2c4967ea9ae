"""Where the ORM's a-methods run: a few threads for handlers, others for handshakes, and none of them asgiref's own."""

import asyncio
import threading
import time
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from channels.auth import AuthMiddlewareStack
from django.contrib.auth.models import AnonymousUser

from django_etp import Connection, Event, etp_event, on_connect
from django_etp.concurrency import database as database_module
from django_etp.concurrency.database import look_after_database, serves_others
from django_etp.consumers import EtpConsumer, HandshakeThreads
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


class Middleware:
    """Asks something synchronous of a thread, as Channels' does of the database."""

    def __init__(self, ask: Any) -> None:
        self.inner = EtpConsumer.as_asgi()
        self.ask = ask

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope = {**scope, "user": AnonymousUser(), "told": await sync_to_async(self.ask)()}
        await self.inner(scope, receive, send)


def wire(ask: Any) -> Wire:
    wire = Wire()
    wire.application = HandshakeThreads(Middleware(ask))
    return wire


class Crowd:
    """Counts who is inside wait(), which nobody leaves before the door opens."""

    def __init__(self) -> None:
        self.door = threading.Event()
        self.threads: list[threading.Thread] = []

    def wait(self) -> None:
        self.threads.append(threading.current_thread())
        self.door.wait(20)


@pytest.fixture
def crowd() -> Any:
    crowd = Crowd()
    yield crowd
    crowd.door.set()


def tell_thread() -> None:
    @etp_event("thread")
    async def tell(connection: Connection, event: Event) -> int:
        return await sync_to_async(threading.get_ident)()


async def test_a_connection_has_one_thread_for_all_that_is_thread_sensitive() -> None:
    seen: list[int] = []

    @on_connect
    async def connect(connection: Connection) -> None:
        seen.append(await sync_to_async(threading.get_ident)())

    tell_thread()
    async with Wire() as client:
        for number in (1, 2):
            client.put(f"thread||{number}")
            seen.append(int((await client.text()).rpartition("||")[2]))
    assert len(set(seen)) == 1
    assert seen[0] != await sync_to_async(threading.get_ident)()


async def test_connections_do_not_wait_for_each_others_orm(crowd: Crowd) -> None:
    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        await sync_to_async(crowd.wait)()

    clients = [Wire() for _ in range(12)]
    for client in clients:
        await client.open()
        client.put("wait||1")
    await until(lambda: len(crowd.threads) == 8)
    await asyncio.sleep(0.1)
    assert len(set(crowd.threads)) == len(crowd.threads) == 8
    crowd.door.set()
    for client in clients:
        assert await client.text() == "__ack_wait||1"
        await client.leave()


async def test_there_are_no_more_threads_than_plain_handlers_may_have(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_threads", {})
    settings.ETP = {"SYNC_WORKERS": 2}
    tell_thread()
    seen = set()
    clients = [Wire() for _ in range(4)]
    for client in clients:
        await client.open()
        client.put("thread||1")
        seen.add(await client.text())
    assert len(seen) == 2
    for client in clients:
        await client.leave()


async def test_a_connection_takes_the_thread_that_the_fewest_use(settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_threads", {})
    settings.ETP = {"SYNC_WORKERS": 2}
    tell_thread()

    async def thread_of(client: Wire) -> str:
        client.put("thread||1")
        return await client.text()

    first, second, third = [await Wire().open() for _ in range(3)]
    assert await thread_of(first) == await thread_of(third) != await thread_of(second)
    await first.leave()
    await third.leave()
    async with Wire() as fourth:
        assert await thread_of(fourth) != await thread_of(second)
    await second.leave()


async def test_code_that_has_a_context_of_its_own_keeps_that() -> None:
    tell_thread()
    own = 0

    async def in_context(scope: Any, receive: Any, send: Any) -> None:
        nonlocal own
        async with ThreadSensitiveContext():
            own = await sync_to_async(threading.get_ident)()
            await EtpConsumer.as_asgi()(scope, receive, send)

    client = Wire()
    client.application = in_context
    async with client:
        client.put("thread||1")
        assert await client.text() == f"__ack_thread||1||{own}"


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


async def test_a_handshake_waits_for_no_handler(crowd: Crowd) -> None:
    @etp_event("wait")
    async def wait(connection: Connection, event: Event) -> None:
        await sync_to_async(crowd.wait)()

    clients = [Wire() for _ in range(9)]
    for client in clients:
        await client.open()
        client.put("wait||1")
    await until(lambda: len(crowd.threads) == 8)
    async with wire(threading.current_thread):
        assert not crowd.door.is_set()
    crowd.door.set()
    for client in clients:
        await client.text()
        await client.leave()


async def test_handshakes_wait_for_the_fewest_others(crowd: Crowd) -> None:
    starting = [wire(crowd.wait).start() for _ in range(12)]
    await until(lambda: len(crowd.threads) == 8)
    await asyncio.sleep(0.1)
    assert len(crowd.threads) == 8
    crowd.door.set()
    for client in starting:
        assert (await client.next())["type"] == "websocket.accept"
        await client.leave()
    assert all(thread.users == 0 for threads in database_module._threads.values() for thread in threads)


async def test_a_handshake_that_fails_leaves_its_thread_to_others() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await wire(fail).start().task
    assert all(thread.users == 0 for threads in database_module._threads.values() for thread in threads)


async def test_the_database_connections_of_all_threads_are_looked_after(monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_threads", {})
    looked: list[str] = []
    monkeypatch.setattr(
        database_module, "close_old_connections", lambda: looked.append(threading.current_thread().name)
    )
    monkeypatch.setattr(database_module, "_FRESH_FOR", 3600.0)
    tell_thread()
    async with Wire() as client, Wire() as other:
        for each in (client, other):
            each.put("thread||1")
            await each.text()
        looked.clear()
        await look_after_database()
        assert len([name for name in looked if name.startswith("etp-orm")]) == 2
        assert len(looked) == 3


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("etp_communicator")
async def test_it_wraps_the_middleware_of_channels() -> None:
    client = Wire()
    client.application = HandshakeThreads(AuthMiddlewareStack(EtpConsumer.as_asgi()))
    del client.scope["user"]
    async with client:
        pass


async def test_the_threads_that_serve_several_tasks_are_known() -> None:
    inside: list[bool] = []

    @etp_event("look")
    async def look(connection: Connection, event: Event) -> None:
        inside.append(await sync_to_async(serves_others)())

    async with Wire() as peer:
        peer.put("look||1")
        await peer.text()
    assert inside == [True]
    assert await sync_to_async(serves_others)()
    assert not serves_others()
    assert not await asyncio.to_thread(serves_others)
    async with ThreadSensitiveContext():
        assert not await sync_to_async(serves_others)()
