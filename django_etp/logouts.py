"""Closing the connections of users who may be here no longer: logout, password change, a user gone or inactive.

Rules kept here:

- A user's connections of a session are closed with 4401 when that session logs out, in whichever process.
- Django sends its signal before the session is gone, and a closed client comes back at once: its handshakes are
  refused for some seconds.
- A session key never travels: a keyed hash of it does.
- Whatever sends no signal, or whose signal was missed, is found by a check at regular intervals.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import HASH_SESSION_KEY, get_user_model
from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare, salted_hmac

from .actions import add_action
from .closing import Disconnect
from .conf import get_settings
from .connection import Connection
from .hub import Hub
from .stores import existing_sessions
from .threads import run_hook

__all__ = ["check_users", "check_users_forever", "close_session", "is_revoked", "session_hash"]

logger = logging.getLogger(__name__)

# How long a session that logs out may take to be gone, in seconds.
_REVOKED_FOR = 10.0
_LOGGED_OUT = Disconnect(4401, "logged out")


def session_hash(session_key: str) -> str:
    """Return what names a session between processes."""
    return salted_hmac("django_etp.session", session_key, algorithm="sha256").hexdigest()


def is_revoked(hub: Hub, scope: dict[str, Any]) -> bool:
    """Return whether a handshake comes with a session that is just logging out."""
    if not hub.revoked:
        return False
    session = scope.get("session")
    key = session.session_key if isinstance(session, SessionBase) else None
    return key is not None and hub.revoked.get(session_hash(key), 0.0) > hub.loop.time()


async def close_session(hub: Hub, namespace: str, hashed_key: str) -> None:
    """Close the local connections, of any namespace, of a session that logs out; refuse new ones until it is gone."""
    now = hub.loop.time()
    hub.revoked = {key: until for key, until in hub.revoked.items() if until > now}
    hub.revoked[hashed_key] = now + _REVOKED_FOR
    for connection in _of_users(hub):
        key = connection.session_key
        if key is not None and session_hash(key) == hashed_key:
            connection.end(_LOGGED_OUT)


async def check_users(hub: Hub, namespace: str = "", user_id: Any = None) -> None:
    """Close the local connections whose user, or session, is gone; of one user, or of all."""
    connections = [
        connection for connection in _of_users(hub) if user_id is None or str(connection.user.pk) == str(user_id)
    ]
    ended = await run_hook(_find_ended, [_Visit.of(connection) for connection in connections])
    for connection in connections:
        if connection.id in ended:
            connection.end(_LOGGED_OUT)


async def check_users_forever(hub: Hub) -> None:
    """Check all users at the interval of the setting ``SESSION_CHECK_INTERVAL``."""
    while True:
        await asyncio.sleep(get_settings().session_check_interval)
        try:
            await check_users(hub)
        except Exception:
            logger.exception("The users of the open connections could not be checked; it is tried again.")


add_action("close_session", close_session)
add_action("check_user", check_users)


@dataclass(frozen=True, slots=True)
class _Visit:
    """What a connection's handshake found, to be compared with what is there now."""

    connection_id: str
    session_key: str | None
    user_id: Any
    auth_hash: str | None

    @classmethod
    def of(cls, connection: Connection) -> "_Visit":
        session = connection.scope.get("session")
        loaded = getattr(session, "_session_cache", {}) if isinstance(session, SessionBase) else {}
        return cls(connection.id, connection.session_key, connection.user.pk, loaded.get(HASH_SESSION_KEY))


def _of_users(hub: Hub) -> list[Connection]:
    return [
        member
        for member in hub.all_members()
        if isinstance(member, Connection) and member.is_accepted and member.user.is_authenticated
    ]


def _find_ended(visits: list[_Visit]) -> set[str]:
    """Return the connections whose session or user is gone; touches the database."""
    keys = {visit.session_key for visit in visits if visit.session_key is not None}
    sessions = existing_sessions(keys) if keys else set()
    users = _users(visit.user_id for visit in visits)
    return {
        visit.connection_id
        for visit in visits
        if (visit.session_key is not None and visit.session_key not in sessions)
        or not _may_stay(users.get(visit.user_id), visit)
    }


def _users(ids: Iterable[Any]) -> dict[Any, Any]:
    wanted, users = list(set(ids)), {}
    for start in range(0, len(wanted), 500):
        users.update(get_user_model()._default_manager.in_bulk(wanted[start : start + 500]))
    return users


def _may_stay(user: Any, visit: _Visit) -> bool:
    if user is None or not user.is_active:
        return False
    if visit.auth_hash is None or not hasattr(user, "get_session_auth_hash"):
        return True
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return any(constant_time_compare(visit.auth_hash, each) for each in hashes)
