"""Django's signals of logouts and changed users → the hubs of all processes.

Rules kept here:

- Who logs out, or saves a user, waits for no other process and for no channel layer.
- What is told is told after the transaction, if there is one: it is true then, and sockets that close write nothing
  meanwhile.
"""

import logging
from collections import Counter, defaultdict
from functools import partial
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import connections, transaction
from django.db.models.signals import post_delete, post_save

from django_etp.concurrency.bridge import loop_ended
from django_etp.conf import get_settings
from django_etp.exceptions import EtpError
from django_etp.hub.hub import Hub
from django_etp.hub.names import user_key
from django_etp.hub.process import process_hub
from django_etp.sessions.content import DATA_KEY
from django_etp.sessions.engine import database_of_sessions
from django_etp.sessions.loaded import session_hash

from .revocation import CHECK_USER, CLOSE_SESSION

__all__ = ["connect_signals"]

logger = logging.getLogger(__name__)

_Hint = tuple[str, ...]

# So many are told at once, of a hub.
_MAX_UNDER_WAY = 100
# Of each hub what it is to tell others, and how many tell, by its id; used on its loop alone.
_waiting: defaultdict[str, dict[_Hint, None]] = defaultdict(dict)
_under_way: Counter[str] = Counter()


def connect_signals() -> None:
    """Listen for logins and logouts, and for users that are saved or deleted."""
    user_logged_out.connect(_close_session, dispatch_uid="django_etp.logout")
    user_logged_in.connect(_drop_data_of_others, dispatch_uid="django_etp.login")
    # Proxies and children of the user model send signals of their own; a receiver of all would slow every delete.
    for model in apps.get_models():
        if issubclass(model, get_user_model()):
            post_save.connect(_check_saved_user, sender=model, dispatch_uid="django_etp.user_saved")
            post_delete.connect(_check_deleted_user, sender=model, dispatch_uid="django_etp.user_deleted")


def _close_session(*, request: Any, user: Any = None, **kwargs: Any) -> None:
    if user is None or not get_settings().close_on_logout:
        return
    if request is None:  # through Channels, in a socket's handler, which ends the session next
        _notify(CHECK_USER, str(user_key(user)))
    elif key := getattr(getattr(request, "session", None), "session_key", None):
        close = partial(_notify, CLOSE_SESSION, str(user_key(user)), session_hash(key))
        using = database_of_sessions()
        if using is not None and _is_in_transaction(using):
            transaction.on_commit(close, using=using)
        else:
            close()


def _is_in_transaction(using: str) -> bool:
    """Whether a transaction is open that will be committed, other than that of a test."""
    return any(not getattr(block, "_from_testcase", False) for block in connections[using].atomic_blocks)


def _drop_data_of_others(*, request: Any, **kwargs: Any) -> None:
    """Leave the data of the old key's connections behind where a login gives the session a new key."""
    session = getattr(request, "session", None)
    if session is not None and request.COOKIES.get(settings.SESSION_COOKIE_NAME) != session.session_key:
        session.pop(DATA_KEY, None)


def _check_saved_user(*, instance: Any, created: bool, update_fields: Any = None, using: str, **kwargs: Any) -> None:
    # Each login saves last_login alone.
    if not created and (update_fields is None or set(update_fields) - {"last_login"}):
        _check_user_later(instance, using)


def _check_deleted_user(*, instance: Any, using: str, **kwargs: Any) -> None:
    _check_user_later(instance, using)


def _check_user_later(user: Any, using: str) -> None:
    user_id = str(user_key(user))  # now: after a delete it has none
    transaction.on_commit(lambda: _notify(CHECK_USER, user_id), using=using)


def _notify(action: str, *arguments: str) -> None:
    """Let all hubs do something soon. Nobody waits for it here: this thread may be the one that serves all requests."""
    try:
        if hub := process_hub():
            if not hub.loop.is_running():  # daphne leaves its own so, never closed
                raise loop_ended()
            hub.loop.call_soon_threadsafe(_take, hub, (action, *arguments), context=hub.context.copy())
    except Exception as error:
        _complain(error)


def _take(hub: Hub, hint: _Hint) -> None:
    _waiting[hub.id][hint] = None  # the same again is told once
    if _under_way[hub.id] < _MAX_UNDER_WAY:
        _under_way[hub.id] += 1
        hub.run(_tell_hubs(hub))


async def _tell_hubs(hub: Hub) -> None:
    """Tell all hubs what waits to be told."""
    waiting = _waiting[hub.id]
    try:
        while waiting:
            action, *arguments = hint = next(iter(waiting))
            del waiting[hint]
            try:
                await hub.ask(None, action, "", *arguments, timeout=get_settings().question_timeout)
            except Exception as error:
                _complain(error)
    finally:
        _under_way[hub.id] -= 1
        if not _under_way[hub.id] and not waiting:
            del _under_way[hub.id], _waiting[hub.id]


def _complain(error: Exception) -> None:
    # No reason for a logout to fail: the check at intervals finds what was missed.
    logger.warning(
        "A logout or a changed user could not be told to all processes at once: %s: %s",
        type(error).__name__,
        error,
        exc_info=None if isinstance(error, EtpError) else error,
    )
