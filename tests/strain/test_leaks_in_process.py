"""After hundreds of connections of each kind in one process, nothing of theirs is left in it."""

import asyncio
import contextlib
import gc
import os
import threading
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from channels.layers import get_channel_layer

from django_etp import AckTimeout, Connection, Event, RejectConnection, etp_event, on_connect, on_disconnect, rooms
from tests.support.inprocess import Message, Wire, until

# ETP_CONNECTIONS=1000 opens so many of each kind.
CONNECTIONS = int(os.environ.get("ETP_CONNECTIONS", "300"))
AT_ONCE = 50
SETTINGS = {
    "MAX_MESSAGE_SIZE": 2048,
    "MAX_CONCURRENT_EVENTS": 2,
    "MAX_QUEUED_EVENTS": 2,
    "DISCONNECT_GRACE": 0,
    "SYNC_WORKERS": 8,
}

Kind = Callable[[], Awaitable[None]]


@pytest.fixture(autouse=True)
def _handlers(etp_registry: Any, settings: Any) -> None:
    settings.ETP = SETTINGS

    @on_connect
    async def greet(connection: Connection) -> None:
        await connection.ajoin("all", f"own {connection.id}")
        match connection.scope["path"]:
            case "/reject/":
                raise RejectConnection("no seat")
            case "/raise/":
                raise ValueError
            case "/accept-and-reject/":
                await connection.aaccept()
                raise RejectConnection
            case "/accept-and-raise/":
                await connection.aaccept()
                raise ValueError
            case "/wait/":
                await connection.scope["door"].wait()
            case "/ask/":
                await connection.aemit_with_ack("question")

    @on_disconnect
    def gone(connection: Connection, disconnect: object) -> None:
        connection.data["gone"] = True

    @etp_event("hello")
    async def hello(connection: Connection, event: Event) -> str:
        connection.scope["itself"] = connection
        return "hello"

    @etp_event("plain")
    def plain(connection: Connection, event: Event) -> str:
        return "plain"

    @etp_event("raise")
    async def fail(connection: Connection, event: Event) -> None:
        raise ValueError(connection)

    @etp_event("plain_raise")
    def plain_fail(connection: Connection, event: Event) -> None:
        raise ValueError(connection)

    @etp_event("close")
    async def close(connection: Connection, event: Event) -> None:
        await connection.aclose(4000, "enough")

    @etp_event("hang")
    async def hang(connection: Connection, event: Event) -> None:
        await asyncio.Event().wait()

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> None:
        await connection.aemit_with_ack("question")

    @etp_event("plain_ask")
    def plain_ask(connection: Connection, event: Event) -> None:
        connection.emit_with_ack("question")

    @etp_event("impatient")
    async def impatient(connection: Connection, event: Event) -> str:
        with contextlib.suppress(AckTimeout):
            await connection.aemit_with_ack("question", timeout=0.001)
        return "done"

    @etp_event("poll")
    async def poll(connection: Connection, event: Event) -> int:
        return len(await rooms.aemit_with_ack(f"own {connection.id}", "question", timeout=0.001))


async def come_and_go() -> None:
    async with Wire():
        pass


async def talk() -> None:
    async with Wire() as wire:
        for number, frame in enumerate(["hello||1", "plain||2", "unknown||3", "__ping||4", "hello||0"]):
            wire.put(frame)
            if number < 4:
                await wire.text()


async def send_malformed_frames() -> None:
    async with Wire() as wire:
        wire.put("no frame")
        wire.put(b"\xff")
        wire.put("__ack_stray||7")
        wire.put("hello||1")
        await wire.text()


async def meet_failing_handlers() -> None:
    async with Wire() as wire:
        wire.put("raise||1")
        wire.put("plain_raise||2")
        wire.put("hello||3")
        await wire.text()


async def vanish_while_handlers_hang() -> None:
    wire = await Wire().open()
    for _ in range(4):
        wire.put("hang||1")
    wire.put("__ping||1")
    await wire.text()
    await wire.leave(1006)


async def vanish_while_asked() -> None:
    wire = await Wire().open()
    wire.put("ask||1")
    await wire.text()
    await wire.leave(1006)


async def vanish_while_asked_by_a_plain_handler() -> None:
    wire = await Wire().open()
    wire.put("plain_ask||1")
    await wire.text()
    await wire.leave(1006)


async def answer_too_late() -> None:
    async with Wire() as wire:
        wire.put("impatient||1")
        await wire.text()
        assert await wire.text() == "__ack_impatient||1||done"
        wire.put("__ack_question||1")


async def leave_a_rooms_question_open() -> None:
    async with Wire() as wire:
        wire.put("poll||1")
        await wire.text()
        assert await wire.text() == "__ack_poll||1||1"


async def be_closed_by_a_handler() -> None:
    async with Wire() as wire:
        wire.put("close||1")
        assert (await wire.next())["code"] == 4000


async def send_too_much_at_once() -> None:
    async with Wire() as wire:
        wire.put("x" * 2049)
        assert (await wire.next())["code"] == 1009


async def flood() -> None:
    async with Wire() as wire:
        for _ in range(6):
            wire.put("hang||1")
        assert (await wire.next())["code"] == 1008


async def come_from_another_origin() -> None:
    await Wire(headers=[(b"host", b"testserver"), (b"origin", b"http://evil.test")]).start().ended()


async def be_rejected() -> None:
    await Wire(path="/reject/").start().ended()


async def meet_a_failing_on_connect() -> None:
    await Wire(path="/raise/").start().ended()


async def be_rejected_after_an_accept() -> None:
    async with Wire(path="/accept-and-reject/") as wire:
        assert (await wire.next())["code"] == 4403


async def meet_an_on_connect_that_fails_after_an_accept() -> None:
    async with Wire(path="/accept-and-raise/") as wire:
        assert (await wire.next())["code"] == 1011


async def vanish_in_mid_handshake() -> None:
    door = asyncio.Event()
    wire = Wire(path="/wait/", door=door).start()
    wire.vanish()
    await until(lambda: not wire.unread)
    door.set()
    await wire.ended()


async def vanish_while_on_connect_asks() -> None:
    wire = await Wire(path="/ask/").open()
    await wire.text()
    await wire.leave(1006)


async def vanish_as_the_accept_goes_out() -> None:
    async def gone(message: Message) -> None:
        raise OSError("the client is gone")

    wire = Wire(on_send=gone).start()
    wire.vanish()
    await wire.ended()


async def be_cancelled() -> None:
    wire = await Wire().open()
    wire.put("hang||1")
    wire.put("ask||2")
    await wire.text()
    wire.task.cancel()
    await asyncio.wait([wire.task])


async def be_cancelled_in_mid_handshake() -> None:
    door = asyncio.Event()
    wire = Wire(path="/wait/", door=door).start()
    await until(lambda: not wire.unread)
    wire.task.cancel()
    door.set()
    await asyncio.wait([wire.task])


async def be_written_to_in_vain() -> None:
    async def gone(message: Message) -> None:
        if message["type"] == "websocket.send":
            raise OSError("the client is gone")

    async with Wire(on_send=gone) as wire:
        wire.put("hello||1")
        wire.put("impatient||2")


KINDS = [
    come_and_go,
    talk,
    send_malformed_frames,
    meet_failing_handlers,
    vanish_while_handlers_hang,
    vanish_while_asked,
    vanish_while_asked_by_a_plain_handler,
    answer_too_late,
    leave_a_rooms_question_open,
    be_closed_by_a_handler,
    send_too_much_at_once,
    flood,
    come_from_another_origin,
    be_rejected,
    meet_a_failing_on_connect,
    be_rejected_after_an_accept,
    meet_an_on_connect_that_fails_after_an_accept,
    vanish_in_mid_handshake,
    vanish_while_on_connect_asks,
    vanish_as_the_accept_goes_out,
    be_cancelled,
    be_cancelled_in_mid_handshake,
    be_written_to_in_vain,
]

OF_A_CONNECTION = {
    ("django_etp.protocol.acks", "PendingAcks"),
    ("django_etp.connections.connection", "Connection"),
    ("django_etp.connections.peer", "Peer"),
    ("django_etp.consumers", "EtpConsumer"),
    ("django_etp.server.handshake", "Handshake"),
    ("django_etp.server.lifecycle", "Lifecycle"),
    ("django_etp.events.dispatcher", "Dispatcher"),
    ("django_etp.connections.outbox", "Outbox"),
}


async def repeat(kind: Kind, times: int) -> None:
    async def work(times: int) -> None:
        for _ in range(times):
            await kind()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(work(times // AT_ONCE))


def of_connections() -> Counter[str]:
    """Return how many objects there are of the classes that a connection is made of."""
    gc.collect()
    found: Counter[str] = Counter()
    for thing in gc.get_objects():
        kind = type(thing)
        if (kind.__module__, kind.__qualname__) in OF_A_CONNECTION:
            found[kind.__qualname__] += 1
    return found


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("etp-")]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_connections_leave_nothing_behind(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    before = len(threads())
    await repeat(kind, 2 * AT_ONCE)  # the hub, its reader, threads: what is made once
    caplog.clear()
    with contextlib.suppress(TimeoutError):  # unless a failed test holds some
        await until(lambda: not of_connections(), timeout=1)
    objects, tasks = of_connections(), asyncio.all_tasks()
    await repeat(kind, CONNECTIONS)
    caplog.clear()  # records hold tracebacks, and those the connections
    await until(lambda: asyncio.all_tasks() <= tasks)
    with contextlib.suppress(TimeoutError):  # a thread may still be letting go of the last one
        await until(lambda: not of_connections() - objects, timeout=2)
    assert of_connections() - objects == Counter()
    assert await rooms.aconnections() == []
    assert await rooms.anames() == []
    assert get_channel_layer().groups == {}
    # Of handlers, of hooks, and of the ORM.
    assert len(threads()) <= before + 3 * SETTINGS["SYNC_WORKERS"]


class Text(str):
    """A message that tells whether somebody holds it."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("frame", ["echo||1||hello", "__ack_echo||1"])
async def test_an_idle_connection_does_not_keep_what_it_received_last(frame: str) -> None:
    async with Wire() as wire:
        wire.put(text := Text(frame))
        received = weakref.ref(text)
        del text
        await until(lambda: received() is None)


async def test_an_ended_connection_does_not_wait_for_the_garbage_collector() -> None:
    await come_and_go()  # what is made once
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        await come_and_go()
        gc.collect()
        left = {type(thing).__name__ for thing in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert not left & {name for _, name in OF_A_CONNECTION}
