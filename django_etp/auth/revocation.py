"""Close connections whose session or user is no longer valid: logout, password change, a user deleted or inactive.

Rules kept here:

- If a session logs out, or another user logs in over it, its connections are closed with 4401, in all processes.
- Django sends its signal before it deletes the session, and a closed client connects again at once. So handshakes with
  that session are refused for some seconds.
- A session key is never sent to other processes, only a keyed hash of it.
- A check at regular intervals finds changes that sent no signal, or whose signal was missed.
- If ``CLOSE_ON_LOGOUT`` is off, the end of a session closes no connections; a user who is deleted, inactive or has
  another password still loses them.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model, load_backend
from django.contrib.sessions.backends.base import SessionBase
from django.utils.crypto import constant_time_compare

from django_etp import tenancy
from django_etp.concurrency.workers import run_own
from django_etp.conf import get_settings
from django_etp.connections.peer import Peer
from django_etp.connections.scope import schema_of
from django_etp.connections.users import load_users
from django_etp.hub.hub import Hub
from django_etp.hub.members import Member
from django_etp.hub.queries import HubCommand, register_query
from django_etp.protocol.closing import LOGGED_OUT, PASSWORD_CHANGED, SESSION_ENDED, USER_GONE, Disconnect
from django_etp.rooms.patterns import are_used
from django_etp.rooms.removal import Recheck
from django_etp.sessions.listing import existing_sessions
from django_etp.sessions.loaded import session_hash, session_key_of

__all__ = ["CheckUser", "CloseSession", "ReplaceSession", "check_connections", "check_users_forever", "is_revoked"]

logger = logging.getLogger(__name__)

# How long handshakes are refused with a session that logs out, in seconds: Django may take as long to delete it.
_REVOKED_FOR = 10.0
# The hash of a session key takes several microseconds: after so many the event loop turns.
_HASHES_PER_TURN = 200
# How long after a user was saved the connections are checked, in seconds.
_CHECK_AFTER = 1.0


class _Revocations:
    """Recent logouts and changed users, as one hub knows them.

    Attributes:
        sessions: keyed hashes of sessions that log out, and until when, on the loop's clock, handshakes with them are
            refused.
        users_to_check: the ids of users who have changed, and whose connections are about to be checked.
    """

    __slots__ = ("sessions", "users_to_check")

    def __init__(self) -> None:
        self.sessions: dict[str, float] = {}
        self.users_to_check: set[str] = set()


# Made for a hub with the first logout or change that it is notified of.
_revocations: WeakKeyDictionary[Hub, _Revocations] = WeakKeyDictionary()


def is_revoked(hub: Hub, scope: dict[str, Any]) -> bool:
    """Return whether a handshake comes with a session that is just logging out."""
    revocations = _revocations.get(hub)
    if revocations is None or not revocations.sessions:
        return False
    key = session_key_of(scope)
    return key is not None and revocations.sessions.get(session_hash(key), 0.0) > hub.loop.time()


@register_query("close_session")
@dataclass(frozen=True, slots=True)
class CloseSession(HubCommand):
    """Close a user's connections, of all namespaces, of a session that logs out, and refuse new ones of it.

    Attributes:
        hashed_key: the keyed hash of the session's key.
    """

    user_id: str
    hashed_key: str

    async def reply(self, hub: Hub) -> None:
        """Close the connections here."""
        _revoke(hub, self.hashed_key)
        for connection in _connections(hub.membership.of_user(self.user_id)):
            if _has_session(connection, self.hashed_key):
                connection.end(LOGGED_OUT)


@register_query("replace_session")
@dataclass(frozen=True, slots=True)
class ReplaceSession(HubCommand):
    """Close the connections, of all namespaces, of a session that a login has replaced, and refuse new ones of it.

    Whose the session was is unknown: Django has deleted it. So all users' connections are searched for it.

    Attributes:
        user_id: the user who logged in. Connections of the same user may come back with the new session.
        hashed_key: the keyed hash of the old session's key.
    """

    user_id: str
    hashed_key: str

    async def reply(self, hub: Hub) -> None:
        """Close the connections here."""
        _revoke(hub, self.hashed_key)
        of_same_user = {member.id for member in hub.membership.of_user(self.user_id)}
        for number, connection in enumerate(_connections(hub.membership.all())):
            if not number % _HASHES_PER_TURN:
                await asyncio.sleep(0)
            if _has_session(connection, self.hashed_key):
                connection.end(SESSION_ENDED if connection.id in of_same_user else LOGGED_OUT)


def _revoke(hub: Hub, hashed_key: str) -> None:
    """Refuse handshakes with a session for some seconds."""
    now = hub.loop.time()
    revocations = _revocations.setdefault(hub, _Revocations())
    revocations.sessions = {key: until for key, until in revocations.sessions.items() if until > now}
    revocations.sessions[hashed_key] = now + _REVOKED_FOR


def _has_session(connection: Peer, hashed_key: str) -> bool:
    key = connection.session_key
    return key is not None and session_hash(key) == hashed_key


@register_query("check_user")
@dataclass(frozen=True, slots=True)
class CheckUser(HubCommand):
    """Check a user's connections, of all namespaces, soon; once for all changes until then.

    Their declared rooms are checked at once, but not the connections: a view that changes a password saves the user
    first, and then gives its own session the new hash and a new key. A client that came back in between would be
    anonymous.
    """

    user_id: str

    async def reply(self, hub: Hub) -> None:
        """Let the connections here be checked."""
        users = _revocations.setdefault(hub, _Revocations()).users_to_check
        if self.user_id not in users and hub.membership.of_user(self.user_id):
            users.add(self.user_id)
            hub.loop.call_later(_CHECK_AFTER, lambda: hub.run(_check_soon(hub, self.user_id)), context=hub.context)
        if are_used():
            hub.run(Recheck("", self.user_id, None).reply(hub))


async def _check_soon(hub: Hub, user_id: str) -> None:
    _revocations[hub].users_to_check.discard(user_id)
    try:
        await check_connections(hub.membership.of_user(user_id))
    except Exception:
        logger.exception("A changed user's connections could not be checked; the check at intervals will do it.")


async def check_connections(members: Iterable[Member]) -> None:
    """Close those of the connections whose session has ended, or whose user is gone or has a new password."""
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
            logger.exception("The users of the open connections could not be checked; the next check will try again.")


@dataclass(frozen=True, slots=True)
class _Visit:
    """A connection's login, as of its handshake, to be compared with the database."""

    connection_id: str
    schema: str
    session_key: str | None
    user_id: Any
    auth_hash: str | None
    backend: str | None
    was_logged_out: bool

    @classmethod
    def of(cls, connection: Peer) -> "_Visit":
        session, schema = connection.scope.get("session"), schema_of(connection.scope)
        loaded = getattr(session, "_session_cache", {}) if isinstance(session, SessionBase) else {}
        if loaded.get(SESSION_KEY) != str(connection.user_id):  # a handler logged out, or put a user into the scope
            key, user_id = connection.session_key, connection.user_id
            return cls(connection.id, schema, key, user_id, None, None, connection.was_logged_out)
        # A handler that still runs may have logged in: the key is new, or missing, and is stored after the handler.
        key = session_key_of(connection.scope)
        auth_hash, backend = loaded.get(HASH_SESSION_KEY), loaded.get(BACKEND_SESSION_KEY)
        return cls(connection.id, schema, key, connection.user_id, auth_hash, backend, connection.was_logged_out)


def _connections(members: Iterable[Member]) -> list[Peer]:
    """Return the connections that are open, or about to be, of Django's users."""
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
    """Return, by connection id, how the connections end whose user or session is gone. This queries the database."""
    by_schema: dict[str, list[_Visit]] = {}
    for visit in visits:
        by_schema.setdefault(visit.schema, []).append(visit)
    ended = {}
    for schema, group in by_schema.items():
        try:
            with tenancy.use_schema(schema):
                ended.update(_find_ended_in_schema(group))
        except Exception:
            if not schema:
                raise
            # Tables of one tenant that are missing must not keep those of the others from being read.
            logger.exception("The users of the schema %s could not be checked; the next check will try again.", schema)
    return ended


def _find_ended_in_schema(visits: list[_Visit]) -> dict[str, Disconnect]:
    users = load_users(visit.user_id for visit in visits)
    keys = {visit.session_key for visit in visits if visit.session_key is not None}
    gone = keys - existing_sessions(keys) if keys and get_settings().close_on_logout else set()
    ended = {}
    for visit in visits:
        disconnect = _end_of_user(users.get(visit.user_id), visit)
        if disconnect is None and visit.session_key in gone:
            disconnect = LOGGED_OUT if visit.was_logged_out else SESSION_ENDED
        if disconnect is not None:
            ended[visit.connection_id] = disconnect
    return ended


def _end_of_user(user: Any, visit: _Visit) -> Disconnect | None:
    if user is None or not _can_log_in(user, visit.backend):
        return USER_GONE
    if visit.auth_hash is None or not hasattr(user, "get_session_auth_hash"):
        return None
    hashes = [user.get_session_auth_hash(), *user.get_session_auth_fallback_hash()]
    return None if any(constant_time_compare(visit.auth_hash, each) for each in hashes) else PASSWORD_CHANGED


def _can_log_in(user: Any, backend: str | None) -> bool:
    """Return whether the backend that logged a user in still accepts the user; some accept inactive ones."""
    if backend is not None and backend in settings.AUTHENTICATION_BACKENDS:
        ask = getattr(load_backend(backend), "user_can_authenticate", None)
        if ask is not None:
            return bool(ask(user))
    return bool(user.is_active)
