"""Ask a project's ``authenticate`` function whose a token is, and until when.

Rules kept here:

- The function may be synchronous, and then runs in a thread of the hooks, or asynchronous. It has 4 s.
- ``None``, Django's ``PermissionDenied`` and Django REST framework's ``AuthenticationFailed`` refuse the token.
- Anything else that goes wrong is logged, without the token, and is no refusal: the client may try again.
"""

import asyncio
import inspect
import logging
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.core.exceptions import PermissionDenied

from django_etp import tenancy
from django_etp.cancellation import must_pass
from django_etp.concurrency.database import keep_database_fresh
from django_etp.concurrency.workers import exited, run_hook
from django_etp.connections.scope import tenant_of
from django_etp.sessions.lazy import unwrapped

from .tokens import censored

__all__ = ["LIMIT", "Authenticate", "Authenticator", "Grant", "NoVerdict"]

logger = logging.getLogger(__name__)

# How long an authenticate function may take, in seconds: daphne drops a handshake after 5 s.
LIMIT = 4.0

_Answer = tuple[Any, datetime | None] | None
Authenticate = Callable[[str, dict[str, Any]], _Answer | Awaitable[_Answer]]


class NoVerdict(Exception):
    """An authenticate function failed, or took too long. That was logged."""


@dataclass(frozen=True, slots=True)
class Grant:
    """The login of a user, by a token, until a time; ``None`` for no end."""

    user: Any
    expires_at: datetime | None

    @property
    def expires_in(self) -> float | None:
        """How long it lasts, in seconds; ``None`` if it has no end."""
        return None if self.expires_at is None else (self.expires_at - datetime.now(UTC)).total_seconds()

    @property
    def has_expired(self) -> bool:
        """Whether its time is over."""
        left = self.expires_in
        return left is not None and left <= 0


class Authenticator:
    """Calls one ``authenticate`` function.

    Raises:
        TypeError: it cannot be called.
    """

    def __init__(self, function: Authenticate) -> None:
        if not callable(function):
            raise TypeError(f"authenticate must be a function of the token and the scope, got {function!r:.80}.")
        self._function: Callable[..., Any] = function
        self._is_async = iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)

    async def grant(self, token: str, scope: dict[str, Any]) -> Grant | None:
        """Return what the token gives; ``None`` if it is refused, or has expired.

        Raises:
            NoVerdict: the function failed.
        """
        deadline = asyncio.timeout(LIMIT)
        try:
            async with deadline:
                grant = _read(await self._call(token, scope))
        except BaseException as error:
            if must_pass(error):
                raise
            # Those of Django REST framework have a status.
            if isinstance(error, PermissionDenied) or getattr(error, "status_code", None) in (401, 403):
                return None
            if deadline.expired():
                logger.error("The authenticate function took longer than %g s.", LIMIT)
            else:
                # Not as exc_info: the exception may quote the token.
                text = censored("".join(traceback.format_exception(error)), token)
                logger.error("The authenticate function failed:\n%s", text)
            raise NoVerdict from None
        return None if grant is None or grant.has_expired else grant

    async def _call(self, token: str, scope: dict[str, Any]) -> Any:
        if tenancy.has_tenants():
            tenancy.set_current_tenant(tenant_of(scope))
        if self._is_async:
            await keep_database_fresh()
            try:
                return await self._function(token, scope)
            except SystemExit as error:
                raise exited(error) from error
        result = await run_hook(self._function, token, scope)
        return await result if inspect.isawaitable(result) else result


def _read(result: object) -> Grant | None:
    """Return what an authenticate function returned. Errors name types alone: the values may hold a token."""
    if result is None:
        return None
    if not isinstance(result, tuple) or len(result) != 2 or result[0] is None:
        got = f"a tuple of {len(result)}" if isinstance(result, tuple) else f"{type(result).__name__}"
        if isinstance(result, tuple) and len(result) == 2:
            got = "a pair without a user"
        raise TypeError(f"authenticate must return a pair (user, expires_at), or None to refuse the token, got {got}.")
    user, expires_at = result
    if expires_at is None:
        return Grant(unwrapped(user), None)
    if not isinstance(expires_at, datetime) or expires_at.utcoffset() is None:
        got = "a naive datetime" if isinstance(expires_at, datetime) else type(expires_at).__name__
        raise TypeError(
            "The expires_at that authenticate returns must be a datetime with a time zone, or None if the token does "
            f"not expire, got {got}. Use datetime.fromtimestamp(seconds, UTC), or django.utils.timezone.make_aware()."
        )
    return Grant(unwrapped(user), expires_at)
