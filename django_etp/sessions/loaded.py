"""The session of an ASGI scope: load it, and read from it without another load."""

from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore
from django.utils.crypto import salted_hmac

from django_etp.concurrency.workers import run_own

from .content import shares_in
from .lazy import unwrapped

__all__ = ["load_session", "loaded_content", "session_hash", "session_key_of", "shares_of_others"]


def session_hash(session_key: str) -> str:
    """Return a name of a session for messages between processes, which must not hold its key."""
    return salted_hmac("django_etp.session", session_key, algorithm="sha256").hexdigest()


def session_key_of(scope: dict[str, Any]) -> str | None:
    """Return the key of the session in an ASGI scope, or ``None`` if it has none."""
    session = unwrapped(scope.get("session"))
    return session.session_key if isinstance(session, SessionBase) else None


async def load_session(session: Any) -> None:
    """Load a session that no middleware has loaded, so that no handler loads it on the event loop."""
    session = unwrapped(session)
    if hasattr(session, "_session_cache"):
        return
    is_stored = isinstance(session, SessionBase) and not isinstance(session, CookieStore)
    if is_stored:
        await run_own(session._get_session, owner=session.session_key)


def loaded_content(session: SessionBase) -> dict[str, Any]:
    """Return the loaded content of a session. It is not loaded here: that would use the database on the event loop."""
    content: dict[str, Any] = getattr(session, "_session_cache", {})
    return content


def shares_of_others(session: Any) -> frozenset[str]:
    """Return the ids of the connections whose data a session held when the handshake loaded it."""
    return frozenset(shares_in(loaded_content(session))) if isinstance(session, SessionBase) else frozenset()
