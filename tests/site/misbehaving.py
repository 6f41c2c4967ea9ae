"""Handlers of a separate namespace for unusual behaviour, and a record of the calls of hooks.

A peer that names itself in its query string (`/ws/?some-name`) is found in the record by that name.
"""

import asyncio
import threading
from collections import defaultdict
from typing import Any

from asgiref.sync import sync_to_async

from django_etp import Connection, ConnectionClosed, Disconnect, Event, etp_event, on_connect, on_disconnect, on_error

NAMESPACE = "misbehaving"

record: dict[str, list[list[Any]]] = defaultdict(list)


def _name(connection: Connection | None) -> str:
    return "" if connection is None else connection.scope["query_string"].decode()


def _note(connection: Connection | None, *entry: Any) -> None:
    if name := _name(connection):
        record[name].append(list(entry))


@on_disconnect
async def note_disconnect(connection: Connection, disconnect: Disconnect) -> None:
    _note(connection, "disconnect", disconnect.code)


@on_error
async def note_error(connection: Connection | None, error: Exception) -> None:
    _note(connection, "error", type(error).__name__)


@on_connect(namespace=NAMESPACE)
async def do_as_the_name_says(connection: Connection) -> None:
    """Join first: a connection that ends or is refused after that must not stay a member."""
    await connection.ajoin("waiting")
    _note(connection, "connect", True)
    name = _name(connection)
    if name.startswith("accept"):
        await connection.aaccept()
    if name.endswith("raise"):
        raise RuntimeError("on_connect raised")
    if name.startswith(("wait", "accept")):
        await asyncio.sleep(3 if name.startswith("wait-long") else 0.3)


on_disconnect(namespace=NAMESPACE)(note_disconnect)
on_error(namespace=NAMESPACE)(note_error)


@etp_event("hang", namespace=NAMESPACE)
async def hang(connection: Connection, event: Event) -> None:
    """Wait for an answer longer than any test runs."""
    try:
        await connection.aemit_with_ack("question", timeout=3600)
    except ConnectionClosed:
        _note(connection, "asked", "ConnectionClosed")


@etp_event("linger", namespace=NAMESPACE)
async def linger(connection: Connection, event: Event) -> None:
    """Take some time, even if the peer has gone."""
    await asyncio.sleep(0.3)
    _note(connection, "lingered", True)


@etp_event("stick", namespace=NAMESPACE)
def stick(connection: Connection, event: Event) -> None:
    """Block a thread for longer than any test runs."""
    _note(connection, "stuck", True)
    threading.Event().wait(3600)


@etp_event("stick-async", namespace=NAMESPACE)
async def stick_async(connection: Connection, event: Event) -> None:
    """Block the thread of the ORM's a-methods for longer than any test runs."""
    _note(connection, "stuck", True)
    await sync_to_async(threading.Event().wait)(3600)
