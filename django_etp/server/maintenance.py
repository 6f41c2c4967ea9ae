"""Work at intervals for the connections of a hub: check users, repair data in sessions, renew database connections.

Rules kept here:

- A request that began before a write may save its old copy of the session over that write, at any later time. So the
  stored sessions that hold data are read every 25 s, many in one query, and missing or old data is written again.
- The data that connections left behind when their process ended is removed in the same way.
- The database connections of asgiref's shared thread are checked when the first connection arrives, and every 10 s. It
  costs each event more if handlers look at the clock.
"""

import asyncio
import logging
from typing import Any

from django_etp import tenancy
from django_etp.auth.revocation import check_users_forever
from django_etp.concurrency.database import look_after_database
from django_etp.concurrency.workers import run_own
from django_etp.connections.peer import Peer
from django_etp.connections.scope import schema_of
from django_etp.events.rechecks import recheck_forever
from django_etp.hub.hub import Hub
from django_etp.sessions.listing import read_shares
from django_etp.sessions.loaded import shares_of_others

__all__ = ["maintain", "tidy_session"]

logger = logging.getLogger(__name__)

# In seconds.
_LOOK_AFTER_EVERY = 25.0
_DATABASE_EVERY = 10.0


async def maintain(hub: Hub) -> None:
    """Do the work for a hub's connections until cancelled."""
    async with asyncio.TaskGroup() as group:
        group.create_task(check_users_forever(hub))
        group.create_task(recheck_forever(hub))
        group.create_task(_look_after_data_forever(hub))
        group.create_task(_look_after_database_forever())


async def _look_after_database_forever() -> None:
    while True:
        try:
            await look_after_database()
        except Exception:
            logger.exception("The connections to the database could not be checked; the next round will try again.")
        await asyncio.sleep(_DATABASE_EVERY)


async def _look_after_data_forever(hub: Hub) -> None:
    while True:
        await asyncio.sleep(_LOOK_AFTER_EVERY)
        try:
            await _look_after_data(hub)
        except Exception:
            logger.exception("The data of the open connections could not be checked; the next round will try again.")


async def _look_after_data(hub: Hub) -> None:
    watched: dict[Peer, str] = {}
    for member in hub.membership.all():
        if isinstance(member, Peer) and member.share is not None and (key := member.share.watched_key) is not None:
            watched[member] = key
    if not watched:
        return
    by_schema: dict[str, set[str]] = {}
    for peer, key in watched.items():
        by_schema.setdefault(schema_of(peer.scope), set()).add(key)
    stored = await run_own(_read_shares, by_schema)
    for peer in watched:
        share = peer.own_share()
        if (key := share.watched_key) is None:
            continue  # the connection has ended meanwhile, or stores nothing now
        shares = stored.get(key)
        if shares is None or not share.is_intact(shares):
            await _restore(peer)


def _read_shares(keys_by_schema: dict[str, set[str]]) -> dict[str, dict[str, Any]]:
    shares: dict[str, dict[str, Any]] = {}
    for schema, keys in keys_by_schema.items():
        with tenancy.use_schema(schema):
            shares.update(read_shares(keys))
    return shares


def tidy_session(peer: Peer) -> None:
    """Remove the data of gone connections from a peer's session; watch the session for the data of those just gone."""
    if peer.session_key is not None and (others := shares_of_others(peer.scope["session"])):
        peer.own_share().watch_others()
        may_live = peer.hub.living()
        if not all(may_live(id) for id in others):
            peer.hub.run(_restore(peer))


async def _restore(peer: Peer) -> None:
    if peer.disconnect is not None:
        return
    try:
        if not await peer.own_share().restore():
            peer.close_without_session()
    except Exception:
        logger.exception("Connection %s could not restore its data in the session.", peer.id)
