"""Renew a login by a token over the open socket, before the token expires.

Rules kept here:

- The greeting and each answer hold the time until the token expires. Without that there is nothing to renew.
- A renewal begins early enough for further tries: after four fifths of the time, or 60 s before its end.
- A failure is reported and tried again. If none succeeds, the server closes the connection with 4401.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from django_etp.exceptions import ConnectionClosed

from .connection import ClientConnection
from .credentials import Credentials
from .handlers import ClientHandlers

__all__ = ["keep_logged_in"]

# In seconds.
_EARLY = 60.0
_TOO_LATE = 0.2
# How long an answer may take.
_ANSWER_LIMIT = 10.0


@asynccontextmanager
async def keep_logged_in(
    connection: ClientConnection, credentials: Credentials, handlers: ClientHandlers
) -> AsyncIterator[None]:
    """Renew the login of a connection until the end of the block."""
    if connection.expires_in is None or not credentials.can_renew:
        yield
        return
    task = asyncio.get_running_loop().create_task(_renew(connection, credentials, handlers, connection.expires_in))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _renew(
    connection: ClientConnection, credentials: Credentials, handlers: ClientHandlers, expires_in: float
) -> None:
    left: float | None = expires_in
    while left is not None and (delay := max(left * 0.8, left - _EARLY)) > _TOO_LATE:
        left -= delay
        await asyncio.sleep(delay)
        try:
            left = await connection.renew(await credentials.token(), _ANSWER_LIMIT)
        except ConnectionClosed:
            return
        except Exception as error:
            await handlers.report(error, "renewing its login")
