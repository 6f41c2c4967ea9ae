"""Run code with transactions in a thread of its own, as a view of a server does, and not as under the testing kit."""

import asyncio
from collections.abc import Callable
from typing import Any

from django.db import connections


async def in_thread(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function in a thread, and close the thread's database connections."""
    return await asyncio.to_thread(_call, function, *args)


def _call(function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    finally:
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None:
                connection.connection.close()  # Django's own close() leaves SQLite in memory open
                connection.connection = None
