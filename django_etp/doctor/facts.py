"""The facts of a server process and of one of its connections, for ``etp_doctor``.

Secrets are never among it. The ``SECRET_KEY`` and the settings are compared by fingerprints: keyed hashes of a random
text of the question, which are of no use without the key.
"""

import os
import socket
import time
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.http import parse_cookie
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from django_etp.cluster.links import LocalLink
from django_etp.conf import get_settings
from django_etp.connections.peer import Peer
from django_etp.hub.hub import Hub
from django_etp.sessions.lazy import unwrapped

__all__ = [
    "VERSION",
    "ConnectionFacts",
    "ProcessFacts",
    "facts_of_connection",
    "facts_of_process",
    "fingerprint",
    "to_plain",
]


# By name: the package itself imports modules above this one, for its public names.
VERSION: str = import_string("django_etp.__version__")


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """The facts of one process.

    Attributes:
        hub: the id of its hub, with which the ids of its connections begin.
        name: its process id and its machine, for people.
        now: its clock, in seconds since 1970.
        version: its version of django_etp.
        key: the fingerprint of its ``SECRET_KEY``.
        settings: the fingerprint of its ``ETP`` settings.
        spans_processes: whether its channel layer can reach other processes.
    """

    hub: str
    name: str
    now: float
    version: str
    key: str
    settings: str
    spans_processes: bool


@dataclass(frozen=True, slots=True)
class ConnectionFacts:
    """The facts of a connection, as the server has them.

    Attributes:
        namespace: the namespace of its route.
        host: the Host header of the handshake, as the server received it.
        has_session: whether a middleware gives connections a session.
        has_cookie: whether the session cookie arrived.
        is_stored: whether the session of that cookie was found.
        has_user: whether a middleware gives connections a user.
        is_logged_in: whether that is not an anonymous one.
    """

    namespace: str
    host: str
    has_session: bool
    has_cookie: bool
    is_stored: bool
    has_user: bool
    is_logged_in: bool


def facts_of_process(hub: Hub, nonce: str) -> ProcessFacts:
    """Return the facts of the process of a hub; ``nonce`` is the random text of the question."""
    return ProcessFacts(
        hub.id,
        f"process {os.getpid()} on {socket.gethostname()}",
        time.time(),
        VERSION,
        fingerprint(nonce),
        fingerprint(f"{nonce} {get_settings()!r}"),
        not isinstance(hub.link, LocalLink),
    )


def facts_of_connection(peer: Peer) -> ConnectionFacts:
    """Return the facts of a connection."""
    session = unwrapped(peer.scope.get("session"))
    cookie = parse_cookie(_header(peer.scope, b"cookie")).get(settings.SESSION_COOKIE_NAME)
    return ConnectionFacts(
        peer.namespace,
        _header(peer.scope, b"host"),
        session is not None,
        cookie is not None,
        cookie is not None and getattr(session, "session_key", None) == cookie,
        "user" in peer.scope,
        peer.user_id is not None,
    )


def fingerprint(text: str) -> str:
    """Return a hash of a text that only a process with the same ``SECRET_KEY`` can make."""
    return salted_hmac("django_etp.doctor.fingerprint", text, algorithm="sha256").hexdigest()[:32]


def to_plain(peer: Peer, nonce: str) -> dict[str, Any]:
    """Return the facts of a connection and of its process as they travel."""
    return {"process": asdict(facts_of_process(peer.hub, nonce)), "connection": asdict(facts_of_connection(peer))}


def _header(scope: dict[str, Any], wanted: bytes) -> str:
    values = (bytes(value).decode("latin-1") for name, value in scope.get("headers", ()) if name == wanted)
    return "; ".join(values)
