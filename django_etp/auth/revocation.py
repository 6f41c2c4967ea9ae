"""Closing the connections of users who may be here no longer: logout, password change, a user gone or inactive.

Rules kept here:

- A user's connections of a session are closed with 4401 when that session logs out, in whichever process.
- Django sends its signal before the session is gone, and a closed client comes back at once: its handshakes are
  refused for some seconds.
- A session key never travels: a keyed hash of it does.
- Whatever sends no signal, or whose signal was missed, is found by a check at regular intervals.
- Where ``CLOSE_ON_LOGOUT`` is off, the end of a session closes nothing; a user who may be here no longer goes anyway.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ValidationError
from django.db import router
from django.utils.crypto import constant_time_compare

from django_etp.concurrency.workers import run_own
from django_etp.conf import get_settings
from django_etp.connections.peer import Peer
from django_etp.hub.hub import Hub
from django_etp.hub.members import Member
from django_etp.hub.queries import is_text, register_query
from django_etp.protocol.closing import LOGGED_OUT, PASSWORD_CHANGED, SESSION_ENDED, USER_GONE, Disconnect
from django_etp.sessions.session import session_hash, session_key_of
from django_etp.sessions.storage import existing_sessions

__all__ = ["CHECK_USER", "CLOSE_SESSION", "check_connections", "check_users_forever", "is_revoked"]

# What hubs are asked to do.
CHECK_USER = "check_user"
CLOSE_SESSION = "close_session"

logger = logging.getLogger(__name__)

# How long a session that logs out may take to be gone, in seconds.
_REVOKED_FOR = 10.0
# How long after a user was saved the connections are looked at, in seconds.
_CHECK_AFTER = 1.0


def is_revoked(hub: Hub, scope: dict[str, Any]) -> bool:
    """Return whether a handshake comes with a session that is just logging out."""
    if not hub.revoked:
        return False
    key = session_key_of(scope)
    return key is not None and hub.revoked.get(session_hash(key), 0.0) > hub.loop.time()


async def _close_session(hub: Hub, namespace: str, user_id: str, hashed_key: str) -> None:
    """Close a user's local connections, of any namespace, of a session that logs out; refuse new ones of it."""
    now = hub.loop.time()
    hub.revoked = {key: until for key, until in hub.revoked.items() if until > now}
    hub.revoked[hashed_key] = now + _REVOKED_FOR
    for connection in _connections(hub.membership.of_user(user_id)):
        key = connection.session_key
        if key is not None and session_hash(key) == hashed_key:
            connection.end(LOGGED_OUT)


async def _check_user(hub: Hub, namespace: str, user_id: str) -> None:
    """Check a user's local connections soon, once for all that changes meanwhile.

    Not at once: a view that changes a password gives its own session the new hash, and a new key, after the user was
    saved; a socket that came back before that would be nobody's.
    """
    if user_id not in hub.users_to_check and hub.membership.of_user(user_id):
        hub.users_to_check.add(user_id)
        hub.loop.call_later(_CHECK_AFTER, lambda: hub.run(_check_soon(hub, user_id)), context=hub.context)


async def _check_soon(hub: Hub, user_id: str) -> None:
    hub.users_to_check.discard(user_id)
    try:
        await check_connections(hub.membership.of_user(user_id))
    except Exception:
        logger.exception("A changed user's connections could not be checked; the next check of all will find them.")


async def check_connections(members: Iterable[Member]) -> None:
    """Close those of the connections whose user, or session, is gone, or has another password now."""
    members = list(members)
    for member in members:
        if isinstance(member, Peer):
            await member.follow_user()
    connections = {connection.id: connection for connection in _connections(members)}
    if not connections:
        return
    ended = await run_own(_find_ended, [_Visit.of(connection) for connection in connections.values()])
    for id, disconnect in ended.items():
        connections[id].end(disconnect)


async def check_users_forever(hub: Hub) -> None:
    """Check all users at the interval of the setting ``SESSION_CHECK_INTERVAL``."""
    while True:
        await asyncio.sleep(get_settings().session_check_interval)
        try:
            await check_connections(hub.membership.all())
        except Exception:
            logger.exception("The users of the open connections could not be checked; it is tried again.")


register_query(CLOSE_SESSION, _close_session, [is_text, is_text, is_text])
register_query(CHECK_USER, _check_user, [is_text, is_text])


@dataclass(frozen=True, slots=True)
class _Visit:
    """What a connection's handshake found, to be compared with what is there now."""

    connection_id: str
    session_key: str | None
    user_id: Any
    auth_hash: str | None
    backend: str | None
    was_logged_out: bool

    @classmethod
    def of(cls, connection: Peer) -> "_Visit":
        session = connection.scope.get("session")
        loaded = getattr(session, "_session_cache", {}) if isinstance(session, SessionBase) else {}
        if loaded.get(SESSION_KEY) != str(connection.user_id):  # logged out, or put into the scope by a handler
            return cls(connection.id, connection.session_key, connection.user_id, None, None, connection.was_logged_out)
        # A login in a handler that still runs has another key, or none yet, and is stored after the handler.
        key = session_key_of(connection.scope)
        auth_hash, backend = loaded.get(HASH_SESSION_KEY), loaded.get(BACKEND_SESSION_KEY)
        return cls(connection.id, key, connection.user_id, auth_hash, backend, connection.was_logged_out)


def _connections(members: Iterable[Member]) -> list[Peer]:
    """Return those that are open, or about to be, of users that Django knows."""
    user_model = get_user_model()
    return [
        member
        for member in members
        if isinstance(member, Peer)
        and member.disconnect is None
        and member.user_id is not None
        and (isinstance(member.user, user_model) or not getattr(member.user, "is_authenticated", True))
    ]


def _find_ended(visits: list[_Visit]) -> dict[str, Disconnect]:
    """Return how the connections end whose user or session is gone, by their ids; touches the database."""
    users = _users(visit.user_id for visit in visits)
    gone = _ended_sessions(visits) if get_settings().close_on_logout else set()
    ended = {}
    for visit in visits:
        disconnect = _end_of_user(users.get(visit.user_id), visit)
        if disconnect is None and visit.session_key in gone:
            disconnect = LOGGED_OUT if visit.was_logged_out else SESSION_ENDED
        if disconnect is not None:
            ended[visit.connection_id] = disconnect
    return ended


def _ended_sessions(visits: list[_Visit]) -> set[str | None]:
    keys = {visit.session_key for visit in visits if visit.session_key is not None}
    return {*(keys - existing_sessions(keys))} if keys else set()


def _users(ids: Iterable[Any]) -> dict[Any, Any]:
    wanted, users = [id for id in set(ids) if _is_key(id)], {}
    # Not a replica, which may lag behind.
    stored = get_user_model()._base_manager.using(router.db_for_write(get_user_model()))
    for start in range(0, len(wanted), 500):
        users.update(stored.in_bulk(wanted[start : start + 500]))
    return users


def _is_key(id: Any) -> bool:
    try:
        get_user_model()._meta.pk.get_prep_value(id)
    except (TypeError, ValueError, ValidationError):
        return False  # of a token with anything in it; in a query it would fail the check of all
    return True


def _end_of_user(user: Any, visit: _Visit) -> Disconnect | None:
    if user is None or not _can_log_in(user, visit.backend):
        return USER_GONE
    if visit.auth_hash is None or not hasattr(user, "get_session_auth_hash"):
        return None
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return None if any(constant_time_compare(visit.auth_hash, each) for each in hashes) else PASSWORD_CHANGED


def _can_log_in(user: Any, backend: str | None) -> bool:
    """Return what the backend that logged a user in says of the user; some let in those who are not active."""
    if backend is not None and backend in settings.AUTHENTICATION_BACKENDS:
        ask = getattr(load_backend(backend), "user_can_authenticate", None)
        if ask is not None:
            return bool(ask(user))
    return bool(user.is_active)
