"""Django's signals of logouts and changed users → the hubs of all processes."""

import asyncio
import logging
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_in, user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from django_etp.concurrency.bridge import run_on
from django_etp.conf import get_settings
from django_etp.exceptions import EtpError
from django_etp.hub.hub import Hub
from django_etp.hub.process import process_hub
from django_etp.sessions.session import session_hash
from django_etp.sessions.storage import DATA_KEY

from .revocation import CHECK_USER, CLOSE_SESSION

__all__ = ["connect_signals"]

logger = logging.getLogger(__name__)


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
        _notify(CHECK_USER, str(user.pk))
    elif key := getattr(getattr(request, "session", None), "session_key", None):
        _notify(CLOSE_SESSION, str(user.pk), session_hash(key))


def _drop_data_of_others(*, request: Any, **kwargs: Any) -> None:
    """Leave the data of the old key's connections behind where a login gives the session a new key."""
    session = getattr(request, "session", None)
    if session is not None and request.COOKIES.get(settings.SESSION_COOKIE_NAME) != session.session_key:
        session.pop(DATA_KEY, None)


def _check_saved_user(*, instance: Any, created: bool, update_fields: Any = None, using: str, **kwargs: Any) -> None:
    # Each login saves last_login alone.
    if not created and (update_fields is None or set(update_fields) - {"last_login"}):
        _check_user_later(str(instance.pk), using)


def _check_deleted_user(*, instance: Any, using: str, **kwargs: Any) -> None:
    _check_user_later(str(instance.pk), using)


def _check_user_later(user_id: str, using: str) -> None:
    transaction.on_commit(lambda: _notify(CHECK_USER, user_id), using=using)


def _notify(action: str, *arguments: str) -> None:
    try:
        if hub := process_hub():
            _notify_hubs(hub, action, arguments)
    except Exception as error:
        _complain(error)


def _complain(error: Exception) -> None:
    # No reason for a logout to fail: the check at intervals finds what was missed.
    logger.warning(
        "A logout or a changed user could not be told to all processes at once: %s: %s",
        type(error).__name__,
        error,
        exc_info=None if isinstance(error, EtpError) else error,
    )


def _notify_hubs(hub: Hub, action: str, arguments: tuple[str, ...]) -> None:
    """Let all hubs do something, and wait until they have, where this thread may wait."""
    timeout = get_settings().question_timeout

    async def ask() -> None:
        await hub.ask(None, action, "", *arguments, timeout=timeout)

    async def ask_for_nobody() -> None:
        try:
            await ask()
        except Exception as error:
            _complain(error)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run_on(hub.loop, ask, timeout=timeout)
    else:
        hub.loop.call_soon_threadsafe(lambda: hub.run(ask_for_nobody()))
