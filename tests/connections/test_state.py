"""The states of a connection: which way it goes from its handshake to its end."""

import asyncio
import contextvars
from types import SimpleNamespace
from typing import Any

import pytest

from django_etp.concurrency.flusher import Flusher
from django_etp.connections.outbox import Outbox
from django_etp.connections.state import CLOSED, CLOSING, CONNECTING, OPEN, State
from tests.support.inprocess import until


async def take(message: dict[str, Any]) -> None:
    """Be a server that takes every message."""


def outbox_to(send: Any) -> Outbox:
    owner = SimpleNamespace(outbox_is_full=None, write_failed=lambda error: None)
    return Outbox(send, owner, Flusher(asyncio.get_running_loop(), contextvars.copy_context()))


def test_a_connection_has_one_of_four_states() -> None:
    assert list(State) == [CONNECTING, OPEN, CLOSING, CLOSED]


async def test_an_accepted_connection_is_open_until_its_close_goes_out() -> None:
    outbox = outbox_to(take)
    assert outbox.state is CONNECTING
    await outbox.accept()
    assert outbox.state is OPEN
    outbox.close(1000, "")
    assert outbox.state is CLOSING
    await until(lambda: outbox.state is CLOSED)


async def test_a_refused_handshake_is_never_open() -> None:
    outbox = outbox_to(take)
    outbox.close(4403, "")
    assert outbox.state is CLOSING
    await until(lambda: outbox.state is CLOSED)


async def test_a_close_during_the_accept_is_not_undone_by_it() -> None:
    goes_out = asyncio.Event()

    async def hold_up(message: dict[str, Any]) -> None:
        await goes_out.wait()

    outbox = outbox_to(hold_up)
    accepting = asyncio.create_task(outbox.accept())
    await asyncio.sleep(0)
    outbox.close(1000, "")
    goes_out.set()
    await accepting
    assert outbox.state is not OPEN
    await until(lambda: outbox.state is CLOSED)


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_client_that_is_gone_ends_the_connection_at_once(is_open: bool) -> None:
    outbox = outbox_to(take)
    if is_open:
        await outbox.accept()
    outbox.abandon()
    assert outbox.state is CLOSED
    outbox.close(1000, "")
    assert outbox.state is CLOSED


async def test_a_failed_write_ends_the_connection() -> None:
    async def accept_only(message: dict[str, Any]) -> None:
        if message["type"] != "websocket.accept":
            raise OSError("the client is gone")

    outbox = outbox_to(accept_only)
    await outbox.accept()
    outbox.write("news||0")
    await until(lambda: outbox.state is CLOSED)
