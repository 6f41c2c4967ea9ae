"""The dependencies of a server process: the broker of its channel layer, and the database of its sessions and users.

Rules kept here:

- A check opens a connection of its own and closes it, so that it also notices a server that takes no more connections.
- A layer in memory, or a project without a database, has nothing to check.
"""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

from channels.layers import channel_layers
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.utils.module_loading import import_string

from django_etp.cluster.transport import Transport
from django_etp.conf import get_settings
from django_etp.conf.layer_names import channel_prefix

from .checks import Check

__all__ = ["dependencies"]

_IN_MEMORY = "channels.layers.InMemoryChannelLayer"
_DUMMY = "django.db.backends.dummy"
# How long a send may take, in seconds. The outcome is decided before that; this ends the thread.
_SEND_LIMIT = 3.0


def dependencies() -> Iterator[tuple[str, Check]]:
    """Yield the name and the check of each thing that this process depends on."""
    if _backend() != _IN_MEMORY:
        yield "broker", _broker
    if connections.settings[DEFAULT_DB_ALIAS]["ENGINE"] != _DUMMY:
        yield "database", _database


def _backend() -> str:
    """Return the dotted path of the channel layer's class; that of the layer in memory if there is no layer."""
    config = channel_layers.configs.get(get_settings().channel_layer, {})
    return str(config.get("BACKEND", _IN_MEMORY))


def _check_broker() -> None:
    asyncio.run(_send(get_settings().channel_layer))


async def _send(alias: str) -> None:
    transport = Transport(alias)
    try:
        async with asyncio.timeout(_SEND_LIMIT):
            # No process is in this group.
            await transport.send(f"{channel_prefix()}.health", {"type": "etp.health"})
    finally:
        await transport.close()


def _check_database() -> None:
    connection = connections[DEFAULT_DB_ALIAS]  # a new one: each thread has its own
    try:
        connection.ensure_connection()
        if not connection.is_usable():
            raise OperationalError("The database does not execute a query.")
    finally:
        connection.close()


# The import of a layer may take longer than a check: it happens with that of the URLs, or the first check would fail.
with suppress(ImportError, ImproperlyConfigured):
    import_string(_backend())

_broker = Check("broker", _check_broker)
_database = Check("database", _check_database)
