"""Django's signals of logouts and changed users → the hubs of all processes."""

import asyncio
import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save

from .conf import get_settings
from .exceptions import EtpError
from .home import home_hub
from .hub import Hub
from .logouts import session_hash
from .loops import run_on

__all__ = ["connect_signals"]

logger = logging.getLogger(__name__)


def connect_signals() -> None:
    """Listen for logouts, and for users that are saved or deleted."""
    user_logged_out.connect(_close_session, dispatch_uid="django_etp.logout")
    post_save.connect(_check_saved_user, sender=get_user_model(), dispatch_uid="django_etp.user_saved")
    post_delete.connect(_check_deleted_user, sender=get_user_model(), dispatch_uid="django_etp.user_deleted")


def _close_session(*, request: Any, **kwargs: Any) -> None:
    key = getattr(getattr(request, "session", None), "session_key", None)
    if key is not None and get_settings().close_on_logout:
        _tell("close_session", session_hash(key))


def _check_saved_user(*, instance: Any, created: bool, update_fields: Any = None, using: str, **kwargs: Any) -> None:
    # Each login saves last_login alone.
    if not created and (update_fields is None or set(update_fields) - {"last_login"}):
        transaction.on_commit(lambda: _tell("check_user", str(instance.pk)), using=using)


def _check_deleted_user(*, instance: Any, using: str, **kwargs: Any) -> None:
    user_id = str(instance.pk)
    transaction.on_commit(lambda: _tell("check_user", user_id), using=using)


def _tell(action: str, argument: str) -> None:
    if not get_settings().close_on_logout:
        return
    hub = home_hub()
    if hub is None:
        return
    try:
        _tell_hubs(hub, action, argument)
    except EtpError as error:
        # The check at intervals finds what was missed.
        logger.warning("A logout or a changed user could not be told to all processes at once: %s", error)


def _tell_hubs(hub: Hub, action: str, argument: str) -> None:
    """Let all hubs do something, and wait until they have, where this thread may wait."""
    timeout = get_settings().question_timeout

    async def ask() -> None:
        await hub.ask(None, action, "", argument, timeout=timeout)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        run_on(hub.loop, ask, timeout=timeout)
    else:
        hub.loop.call_soon_threadsafe(lambda: hub.run(ask()))
