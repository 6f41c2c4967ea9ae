"""Receive Django's signals of logouts and changed users, and notify the hubs of all processes.

Rules kept here:

- A logout, or a save of a user, does not wait for other processes or for the channel layer.
- In a transaction the hubs are notified after the commit: the change is true then, and connections that close do not
  write to the database meanwhile.
"""

import logging
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from django.apps import apps
from django.conf import settings
from django.contrib.auth import SESSION_KEY, get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import connections, transaction
from django.db.models.signals import post_delete, post_save

from django_etp import tenancy
from django_etp.concurrency.bridge import loop_ended
from django_etp.conf import get_settings
from django_etp.exceptions import EtpError
from django_etp.hub.hub import Hub
from django_etp.hub.names import user_key
from django_etp.hub.process import process_hub
from django_etp.hub.queries import HubCommand
from django_etp.quoting import line_of
from django_etp.sessions.content import DATA_KEY
from django_etp.sessions.engine import database_of_sessions
from django_etp.sessions.loaded import loaded_content, session_hash

from .revocation import CheckUser, CloseSession, ReplaceSession

__all__ = ["connect_signals", "is_in_transaction", "notify"]

logger = logging.getLogger(__name__)

# A query names a namespace; these two are about the connections of all.
_ALL_NAMESPACES = ""
# How many queries of one hub are under way at once.
_MAX_UNDER_WAY = 100


class _Notices:
    """Queries that one hub has yet to send to all hubs. They are used on the hub's loop alone.

    Attributes:
        waiting: queries to send; equal ones are sent once.
        under_way: how many tasks send them.
    """

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.waiting: dict[HubCommand, None] = {}
        self.under_way = 0


_notices: WeakKeyDictionary[Hub, _Notices] = WeakKeyDictionary()


def connect_signals() -> None:
    """Connect to Django's signals of logins and logouts, and of users that are saved or deleted."""
    user_logged_out.connect(_close_session, dispatch_uid="django_etp.logout")
    user_logged_in.connect(_leave_old_session, dispatch_uid="django_etp.login")
    # Proxies and children of the user model send signals of their own. A receiver for all models would slow deletes.
    models = [model for model in apps.get_models() if issubclass(model, get_user_model())]
    for model in models:
        post_save.connect(_check_saved_user, sender=model, dispatch_uid="django_etp.user_saved")
        post_delete.connect(_check_deleted_user, sender=model, dispatch_uid="django_etp.user_deleted")
    tenancy.mark_users(models)


def _close_session(*, request: Any, user: Any = None, **kwargs: Any) -> None:
    if user is None or not get_settings().close_on_logout:
        return
    user_id = str(tenancy.identity(user, user_key(user)))
    if request is None:  # a handler logged out through Channels, which ends the session next
        notify(CheckUser(_ALL_NAMESPACES, user_id))
    elif key := getattr(getattr(request, "session", None), "session_key", None):
        _notify_of_session(CloseSession(_ALL_NAMESPACES, user_id, session_hash(key)))


def _notify_of_session(query: HubCommand) -> None:
    """Notify the hubs of the end of a session; in a transaction on the sessions' database, after its commit."""
    using = database_of_sessions()
    if using is not None and is_in_transaction(using):
        transaction.on_commit(partial(notify, query), using=using)
    else:
        notify(query)


def is_in_transaction(using: str) -> bool:
    """Return whether a transaction is open that will be committed; that of a test will not."""
    return any(not getattr(block, "_from_testcase", False) for block in connections[using].atomic_blocks)


def _leave_old_session(*, request: Any, user: Any = None, **kwargs: Any) -> None:
    """If a login has given the session a new key: drop the old one's data, and end the old one's connections."""
    session = getattr(request, "session", None)
    if session is None or (old := request.COOKIES.get(settings.SESSION_COOKIE_NAME)) == session.session_key:
        return
    session.pop(DATA_KEY, None)
    # If another user was logged in, Django's login() flushes the session. It has no key then until it is saved.
    was_flushed = session.session_key is None and SESSION_KEY in loaded_content(session)
    if old and was_flushed and user is not None and get_settings().close_on_logout:
        user_id = str(tenancy.identity(user, user_key(user)))
        _notify_of_session(ReplaceSession(_ALL_NAMESPACES, user_id, session_hash(old)))


def _check_saved_user(*, instance: Any, created: bool, update_fields: Any = None, using: str, **kwargs: Any) -> None:
    # Each login saves the user with last_login alone.
    if not created and (update_fields is None or set(update_fields) - {"last_login"}):
        _check_user_later(instance, using)


def _check_deleted_user(*, instance: Any, using: str, **kwargs: Any) -> None:
    _check_user_later(instance, using)


def _check_user_later(user: Any, using: str) -> None:
    # Now: a deleted user has no key after the delete, and the schema is the one that was written to.
    user_id = str(tenancy.identity(None, user_key(user), tenancy.schema_on(using)))
    transaction.on_commit(lambda: notify(CheckUser(_ALL_NAMESPACES, user_id)), using=using)


def notify(query: HubCommand) -> None:
    """Send a query to all hubs soon, without waiting: this thread may be the one that serves all requests."""
    try:
        if hub := process_hub():
            if not hub.loop.is_running():  # daphne stops its loop, and never closes it
                raise loop_ended()
            hub.loop.call_soon_threadsafe(_enqueue, hub, query, context=hub.context.copy())
    except Exception as error:
        _complain(error)


def _enqueue(hub: Hub, query: HubCommand) -> None:
    notices = _notices.setdefault(hub, _Notices())
    notices.waiting[query] = None
    if notices.under_way < _MAX_UNDER_WAY:
        notices.under_way += 1
        hub.run(_send_waiting(hub, notices))


async def _send_waiting(hub: Hub, notices: _Notices) -> None:
    try:
        while notices.waiting:
            query = next(iter(notices.waiting))
            del notices.waiting[query]
            try:
                await query.ask(hub, get_settings().question_timeout)
            except Exception as error:
                _complain(error)
    finally:
        notices.under_way -= 1


def _complain(error: Exception) -> None:
    # A logout must not fail for this: the check at intervals finds the connections.
    logger.warning(
        "Not all processes could be notified of a logout or a changed user: %s: %s",
        type(error).__name__,
        line_of(error),
        exc_info=None if isinstance(error, EtpError) else error,
    )
