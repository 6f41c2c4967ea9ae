"""Whether a user may enter a declared room.

Rules kept here:

- The order is: login, permissions, the function of ``allow``. A room without these rules is open to all.
- Permissions are those of a user who was just loaded: Django's users keep the permissions that they had. For the other
  rules the user of the connection will do, unless the user has changed since the handshake.
- A user who is not one of Django's, such as one of a token, is asked as it is.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404

from django_etp.concurrency.workers import run_hook, run_own
from django_etp.connections.peer import Peer
from django_etp.connections.scope import identity_of
from django_etp.connections.users import load_users
from django_etp.exceptions import EventFailed

from .declared import DeclaredRoom
from .handlers import Handler, call

__all__ = ["LIMIT", "call_limited", "check_access", "is_djangos_user", "refusal_of", "user_of"]

# How long each function of a declared room may take, in seconds.
LIMIT = 10.0


def is_djangos_user(peer: Peer) -> bool:
    """Return whether the user of a connection is one of Django's, which can be loaded again."""
    return peer.user_id is not None and isinstance(peer.user, get_user_model())


async def user_of(peer: Peer, *, anew: bool) -> Any:
    """Return the user of a connection; from the database if that is asked for (``anew``), or the user has changed."""
    from django.contrib.auth.models import AnonymousUser

    if not is_djangos_user(peer):
        return peer.user
    changed = peer.hub.membership.changed_users
    if anew or (changed and str(identity_of(peer.scope, peer.user_id)) in changed):
        return await run_own(_load_user, peer.user_id) or AnonymousUser()
    return peer.user


async def check_access(room: DeclaredRoom, parameters: dict[str, Any], user: Any, *, owner: str) -> None:
    """Raise an error unless a user may enter a room. The errors of the function of ``allow`` are raised as they are.

    ``owner`` shares the threads fairly with others: see run_hook().

    Raises:
        PermissionDenied: the user may not.
        TimeoutError: the function of ``allow`` took too long.
    """
    if room.login_required and not user.is_authenticated:
        raise PermissionDenied("This room is for users who are logged in.")
    if room.permissions and not await run_own(_has_permissions, user, room.permissions):
        raise PermissionDenied("The user lacks a permission for this room.")
    if room.rule is not None:
        run_in_thread = partial(run_hook, owner=owner)
        if not await call_limited(room.rule.with_parameters(parameters), run_in_thread, user):
            raise PermissionDenied("The user may not enter this room.")


def refusal_of(error: BaseException, name: str) -> BaseException:
    """Return the failure that the client gets for an error of a function of a declared room, or else the error."""
    match error:
        case PermissionDenied():
            return EventFailed("permission_denied", str(error) or "The user may not enter this room.")
        case ObjectDoesNotExist() | Http404():
            return EventFailed("not_found", f"There is no room {name[:80]!r}.")
    return error


async def call_limited(handler: Handler, run_in_thread: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> Any:
    """Call a function of a declared room in a limited time, and return its result. See call().

    Raises:
        TimeoutError: the time is over; the text names the function.
    """
    deadline = asyncio.timeout(LIMIT)
    try:
        async with deadline:
            return await call(handler, run_in_thread, *args)
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise TimeoutError(f"{handler.place} took longer than {LIMIT:g} s.") from error


def _load_user(id: Any) -> Any:
    return load_users([id]).get(id)


def _has_permissions(user: Any, permissions: tuple[str, ...]) -> bool:
    return bool(user.has_perms(permissions))
