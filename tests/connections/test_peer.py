"""The client at the other end: what the server and the hub do with it, and its end."""

import asyncio
import gc
import time
from typing import Any

import pytest
from django.contrib.auth.models import User

from django_etp import (
    AckTimeout,
    Connection,
    ConnectionClosed,
    Event,
    RejectConnection,
    etp_event,
    on_connect,
    on_disconnect,
    rooms,
)
from django_etp.connections.peer import Peer
from django_etp.hub.process import serving_hub
from django_etp.protocol.closing import Disconnect
from django_etp.server.lifecycle import Lifecycle
from django_etp.testing import EtpCommunicator
from tests.support.hooks import handler, hook
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


def peers() -> list[Peer]:
    """Return the peers of all connections."""
    return [member for member in serving_hub().membership.all() if isinstance(member, Peer)]


# Its handle


async def test_all_handlers_of_a_connection_get_the_same_handle() -> None:
    handles: list[Connection] = []
    hook(on_connect, True, handles.append)
    handler("hello", False, lambda connection, event: handles.append(connection))
    hook(on_disconnect, True, lambda connection, disconnect: handles.append(connection))
    async with EtpCommunicator() as client:
        await client.emit_with_ack("hello")
    first, second, third = handles
    assert first is second is third


async def test_it_has_the_name_of_its_handle() -> None:
    handles: list[Connection] = []
    hook(on_connect, True, handles.append)
    async with EtpCommunicator():
        (peer,) = peers()
        assert (peer.id, peer.namespace) == (handles[0].id, handles[0].namespace)
        assert peer.id in repr(peer)


async def test_a_handle_may_outlive_its_connection_and_keeps_no_server_in_memory() -> None:
    handles: list[Connection] = []
    hook(on_connect, True, handles.append)

    def lifecycles() -> int:
        return sum(type(each) is Lifecycle and each._peer.id == handles[0].id for each in gc.get_objects())

    async with EtpCommunicator():
        assert lifecycles() == 1
    await until(lambda: lifecycles() == 0)
    assert handles[0].rooms == frozenset()


# Before the accept


async def test_what_others_send_or_ask_before_the_accept_accepts_nothing() -> None:
    door = asyncio.Event()
    connections: list[Connection] = []
    hook(on_connect, True, connections.append)

    @on_connect
    async def wait(connection: Connection) -> None:
        await connection.ajoin("lobby")
        await door.wait()

    wire = Wire().start()
    await until(lambda: connections and connections[0].rooms)
    (connection,) = connections
    await rooms.aemit("lobby", "room")
    await rooms.aemit_to(connection.id, "one")
    with pytest.raises(AckTimeout):
        await rooms.aemit_to_with_ack(connection.id, "impatient", timeout=0.2)
    asking = asyncio.create_task(rooms.aemit_to_with_ack(connection.id, "question"))
    await asyncio.sleep(0.01)
    assert wire.sent == []
    door.set()
    assert (await wire.next())["type"] == "websocket.accept"
    assert [await wire.text() for _ in range(4)] == ["room||0", "one||0", "impatient||1", "question||2"]
    wire.put("__ack_question||2||fine")
    assert (await asking).data == "fine"
    await wire.leave()


async def test_a_question_of_others_before_the_accept_ends_with_the_rejection() -> None:
    door = asyncio.Event()
    connections: list[Connection] = []
    hook(on_connect, True, connections.append)

    @on_connect
    async def reject(connection: Connection) -> None:
        await door.wait()
        raise RejectConnection

    wire = Wire().start()
    await until(lambda: connections)
    asking = asyncio.create_task(rooms.aemit_to_with_ack(connections[0].id, "question"))
    await asyncio.sleep(0)
    door.set()
    with pytest.raises(ConnectionClosed):
        await asking
    await wire.ended()
    assert [message["type"] for message in wire.sent] == ["websocket.close"]


async def test_it_counts_as_accepted_while_it_is_open() -> None:
    seen: list[bool] = []

    async def look(*args: Any) -> None:
        seen.extend(peer.is_accepted for peer in known)

    known: list[Peer] = []

    @on_connect
    async def keep(connection: Connection) -> None:
        known.extend(peers())
        await look()

    on_disconnect(look)
    async with EtpCommunicator():
        await look()
    assert seen == [False, True, False]


# The end


async def test_it_ends_once() -> None:
    ended: list[int] = []
    hook(on_disconnect, True, lambda connection, disconnect: ended.append(disconnect.code))
    async with EtpCommunicator() as client:
        (peer,) = peers()
        peer.end(Disconnect(4000, "first"))
        peer.end(Disconnect(4001, "second"))
        peer.lose(Disconnect(1006))
        assert await client.expect_close() == Disconnect(4000, "first")
    assert peer.disconnect == Disconnect(4000, "first")
    assert ended == [4000]


async def test_a_close_may_drop_what_waits() -> None:
    async with EtpCommunicator() as client:
        (peer,) = peers()
        for _ in range(3):
            peer.deliver("news||0")
        peer.end(Disconnect(4000), drop=True)
        assert await client.expect_close() == Disconnect(4000)
        assert client._frames.empty()


async def test_what_is_delivered_after_the_end_is_dropped() -> None:
    async with EtpCommunicator() as client:
        (peer,) = peers()
        peer.lose(Disconnect(1006))
        peer.deliver("news||0")
        assert peer.outbox.begin("__ack_hello||1") is None
        await client.expect_nothing(timeout=0.01)


async def test_an_answer_that_no_question_waits_for_is_dropped() -> None:
    async with EtpCommunicator():
        (peer,) = peers()
        peer.settle(Event("__ack_question", 1))
        with pytest.raises(AckTimeout):
            await peer.ask("question", None, 0.01)
        peer.settle(Event("__ack_question", 1))


# What the hub lists of it


@pytest.mark.parametrize(("pk", "told"), [(7, 7), ("ann", "ann")])
async def test_its_row_holds_plain_values(pk: Any, told: int | str) -> None:
    before = time.time()
    async with EtpCommunicator(user=User(pk=pk)):
        (peer,) = peers()
        id, user_id, connected_at = peer.to_row()
    assert (id, user_id) == (peer.id, told)
    assert before <= connected_at <= time.time()


# Its user


async def test_a_user_whom_a_handler_puts_into_the_scope_is_the_connections_from_then_on() -> None:
    @etp_event("become")
    async def become(connection: Connection, event: Event) -> None:
        connection.scope["user"] = User(pk=int(event.data))

    async with EtpCommunicator(user=User(pk=1)) as client:
        (peer,) = peers()
        await client.emit_with_ack("become", "2")
        assert peer.user_id == 2
        assert serving_hub().membership.of_user(1) == []
        assert serving_hub().membership.of_user(2) == [peer]


async def test_it_has_no_share_of_the_session_before_its_data_is_used() -> None:
    handler("use", True, lambda connection, event: len(connection.data))
    async with EtpCommunicator(user=User(pk=1)) as client:
        (peer,) = peers()
        assert peer.share is None
        assert not peer.has_unsaved
        await client.emit_with_ack("use")
        assert peer.share is not None
