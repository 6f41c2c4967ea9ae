"""The session and the login of a connection, with a session that is stored for the examination alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.contrib.sessions.backends.base import SessionBase

from django_etp.exceptions import describe
from django_etp.quoting import one_line

from .asking import Interview
from .findings import Finding, failure, ok, skipped, warning
from .target import Target

__all__ = ["check_session", "stored_session", "uses_sessions"]

# How long the session lives if the examination is killed, in seconds.
_LIFETIME = 600
_NAME = "django.contrib.sessions"

_EXPIRED = "The session has expired, or it belongs to another site: log in again, and pass its cookie."
_ELSEWHERE = (
    "The server reads another store than this command has written to: compare SESSION_ENGINE, the database and the "
    "cache of both. A cache in local memory belongs to one process."
)


def uses_sessions() -> bool:
    """Return whether the project has installed Django's sessions."""
    return _NAME in settings.INSTALLED_APPS


@contextmanager
def stored_session(username: str | None = None) -> Iterator[tuple[dict[str, str], str]]:
    """Store a session until the block ends; yield its cookie, and the problem if there is one, else ``""``.

    With a name it belongs to that user; without one it is anonymous.
    """
    if not uses_sessions():
        yield {}, f"{_NAME} is not installed"
        return
    try:
        session = import_module(settings.SESSION_ENGINE).SessionStore()
        session["etp_doctor"] = True
        session.set_expiry(_LIFETIME)
        if username is not None:
            _log_in(session, username)
        session.save()
    except Exception as error:  # a database or a cache may raise anything
        yield {}, one_line(describe(error), 200)
        return
    try:
        yield {settings.SESSION_COOKIE_NAME: session.session_key}, ""
    finally:
        session.delete()


def _log_in(session: SessionBase, username: str) -> None:
    user = get_user_model()._default_manager.get(**{get_user_model().USERNAME_FIELD: username})
    session[SESSION_KEY] = user._meta.pk.value_to_string(user)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    if hasattr(user, "get_session_auth_hash"):
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()


def check_session(target: Target, interview: Interview, problem: str) -> Iterator[Finding]:
    """Judge the cookie, the session and the user of a connection; ``problem`` is why this command stored no session."""
    expectations = {
        "cookie": f"the cookie {settings.SESSION_COOKIE_NAME!r} arrives at the server",
        "session": "the server finds the session of the cookie",
        "login": "a user who is logged in" if target.is_given_login else "connections have a user, an anonymous one",
    }
    facts = interview.connection
    if facts is None:
        yield from (skipped(check, text, f"not known: {interview.problem}") for check, text in expectations.items())
        return
    yield _cookie(target, expectations["cookie"], facts.has_cookie)
    if not facts.has_session and (target.token is not None or not uses_sessions()):
        yield ok("session", "none, with a login by token or without django.contrib.sessions", "none")
    elif not facts.has_session:
        yield failure(
            "session",
            expectations["session"],
            "connections have no session: no session middleware is around the EtpConsumer",
            "Put AuthMiddlewareStack around the URLRouter of the WebSockets in asgi.py. If clients log in by tokens, "
            "pass --token.",
        )
    elif facts.is_stored:
        yield ok("session", expectations["session"], "it does")
    elif settings.SESSION_COOKIE_NAME not in target.cookies:
        yield skipped(
            "session", expectations["session"], f"not examined: no session was stored: {problem or 'no cookie'}"
        )
    elif facts.has_cookie:
        came = "the cookie arrived, and the server has no such session"
        yield failure("session", expectations["session"], came, _EXPIRED if target.is_given_login else _ELSEWHERE)
    else:
        yield skipped("session", expectations["session"], "not examined, since the cookie did not arrive")
    yield _login(target, expectations["login"], facts.has_user, facts.is_logged_in)


def _cookie(target: Target, expected: str, arrived: bool) -> Finding:
    if settings.SESSION_COOKIE_NAME not in target.cookies:
        return skipped("cookie", expected, "not examined: no session cookie was sent")
    if arrived:
        return ok("cookie", expected, "it does")
    return failure(
        "cookie",
        expected,
        "it was sent, and did not arrive",
        "A proxy removes the header Cookie (nginx: look for proxy_set_header Cookie), or the server has another "
        "SESSION_COOKIE_NAME than this command.",
    )


def _login(target: Target, expected: str, has_user: bool, is_logged_in: bool) -> Finding:
    if not has_user:
        return warning(
            "login",
            expected,
            "connections have no user: no middleware puts one into the scope",
            "Put AuthMiddlewareStack around the URLRouter in asgi.py, or TokenAuthMiddleware.",
        )
    if not target.is_given_login:
        return ok("login", expected, "they have; pass --user, --cookie or --token to examine a login")
    if is_logged_in:
        return ok("login", expected, "a user who is logged in")
    return failure(
        "login",
        expected,
        "an anonymous user",
        "The cookie or the token is not of a user who is logged in, has expired, or belongs to another site; or the "
        "SECRET_KEY has changed since the login.",
    )
