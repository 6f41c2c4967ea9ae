"""What is done at intervals for the connections of a hub: their users are checked, their data in sessions, and the
database connections that their handlers share.

Rules kept here:

- A request that began before a write may save its old copy of the session over it, however long it takes: the stored
  sessions that hold data are read every 25 s, many at a time, and data that is missing or old is written again.
- What connections left behind that are gone is removed with it.
- The database connections of asgiref's shared thread are looked after as the first connection comes, and every 10 s:
  a handler's look at the clock would cost each event more.
"""

import asyncio
import logging

from django_etp.auth.revocation import check_users_forever
from django_etp.concurrency.database import look_after_database
from django_etp.concurrency.workers import run_own
from django_etp.connections.connection import Connection
from django_etp.hub.hub import Hub
from django_etp.sessions.listing import read_shares

__all__ = ["maintain"]

logger = logging.getLogger(__name__)

# In seconds.
_LOOK_AFTER_EVERY = 25.0
_DATABASE_EVERY = 10.0


async def maintain(hub: Hub) -> None:
    """Look after a hub's connections until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(check_users_forever(hub))
        group.create_task(_look_after_data_forever(hub))
        group.create_task(_look_after_database_forever())


async def _look_after_database_forever() -> None:
    while True:
        try:
            await look_after_database()
        except Exception:
            logger.exception("The connections to the database could not be looked after; it is tried again.")
        await asyncio.sleep(_DATABASE_EVERY)


async def _look_after_data_forever(hub: Hub) -> None:
    while True:
        await asyncio.sleep(_LOOK_AFTER_EVERY)
        try:
            await _look_after_data(hub)
        except Exception:
            logger.exception("The data of the open connections could not be looked after; it is tried again.")


async def _look_after_data(hub: Hub) -> None:
    watched = [
        member
        for member in hub.membership.all()
        if isinstance(member, Connection) and member.watched_session is not None
    ]
    if not watched:
        return
    shares = await run_own(read_shares, {connection.watched_session for connection in watched})
    for connection in watched:
        if (key := connection.watched_session) is not None:  # else it has ended, or changed, meanwhile
            await connection.look_after(shares.get(key))
