"""Functions around the handlers of events, and around ``on_connect``: those of the project, and limits.

Rules kept here:

- The first function in a setting is the outermost.
- They see every event, those without a handler too, and what a handler returned before it becomes text.
- If there is none, the dispatcher calls handlers by itself; of a handler with a rate only the limit is around it.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.dispatch import receiver
from django.utils.module_loading import import_string

from django_etp.conf import find_problems, get_settings
from django_etp.connections.connection import Connection
from django_etp.protocol.frames import Event

from .handlers import call, run_reporting
from .limits import RateLimit
from .namespaces import Namespace
from .quota import check_quota

__all__ = ["load_middleware", "run_connect", "surround_connects", "surround_events", "surrounded", "surrounds"]

Handle = Callable[[Connection, Event], Awaitable[Any]]
EventMiddleware = Callable[[Connection, Event, Handle], Awaitable[Any]]
ConnectMiddleware = Callable[[Connection, Callable[[Connection], Awaitable[Any]]], Awaitable[Any]]


class _Surrounds:
    """The functions around handlers and hooks in this process.

    Attributes:
        events: whether anything is around the handlers of events, of all or of those with a rate. The dispatcher reads
            it for each event.
        connects: whether anything is around ``on_connect``.
        of_events: functions around the handlers, the outermost first.
        of_connects: functions around ``on_connect``, the outermost first.
        of_apps: functions around all others of events, which apps of this package have added.
        connects_of_apps: the same around ``on_connect``.
        has_rates: whether a handler has a rate of its own.
    """

    def __init__(self) -> None:
        self.events = self.connects = self.has_rates = False
        self.of_events: list[EventMiddleware] = []
        self.of_connects: list[ConnectMiddleware] = []
        self.of_apps: list[EventMiddleware] = []
        self.connects_of_apps: list[ConnectMiddleware] = []

    def expect_rates(self) -> None:
        """Record that a handler has a rate of its own."""
        self.has_rates = self.events = True


surrounds = _Surrounds()


def load_middleware() -> None:
    """Import what the settings name.

    Raises:
        ImproperlyConfigured: a function cannot be imported, or is not an ``async def``.
    """
    ours = get_settings()
    surrounds.of_events = [*surrounds.of_apps]
    if ours.rate is not None:
        surrounds.of_events.append(_limit(RateLimit(ours.rate, "connection", "")))
    surrounds.of_events += _import("MIDDLEWARE", ours.middleware)
    surrounds.of_connects = surrounds.connects_of_apps + _import("CONNECT_MIDDLEWARE", ours.connect_middleware)
    surrounds.events = bool(surrounds.of_events) or surrounds.has_rates
    surrounds.connects = bool(surrounds.of_connects) or ours.max_connections_per_user > 0


def surround_events(function: EventMiddleware) -> None:
    """Put a function around all others; for apps of this package, in their ``ready()``."""
    surrounds.of_apps.append(function)
    _load_if_valid()


def surround_connects(function: ConnectMiddleware) -> None:
    """Put a function around all others of ``on_connect``. See surround_events()."""
    surrounds.connects_of_apps.append(function)
    _load_if_valid()


def surrounded(handle: Handle) -> Handle:
    """Return a function that calls ``handle`` inside of all functions around events."""
    for function in reversed(surrounds.of_events):
        handle = _around(function, handle)
    return handle


async def run_connect(handlers: Namespace, connection: Connection) -> None:
    """Run the ``on_connect`` hooks in order, inside all functions; an exception ends that and is raised."""

    async def handle(connection: Connection) -> None:
        for hook in handlers.on_connect:
            await call(hook, run_reporting, connection)

    run: Callable[[Connection], Awaitable[Any]] = handle
    for function in reversed(surrounds.of_connects):
        run = _around_connect(function, run)
    await check_quota(connection)
    await run(connection)


def _around(function: EventMiddleware, handle: Handle) -> Callable[[Connection, Event], Coroutine[Any, Any, Any]]:
    async def around(connection: Connection, event: Event) -> Any:
        return await function(connection, event, handle)

    return around


def _around_connect(
    function: ConnectMiddleware, handle: Callable[[Connection], Awaitable[Any]]
) -> Callable[[Connection], Coroutine[Any, Any, Any]]:
    async def around(connection: Connection) -> Any:
        return await function(connection, handle)

    return around


def _limit(limit: RateLimit) -> EventMiddleware:
    async def check(connection: Connection, event: Event, handle: Handle) -> Any:
        await limit.check(connection, event)
        return await handle(connection, event)

    return check


def _import(setting: str, paths: Sequence[str]) -> list[Any]:
    functions = []
    for path in paths:
        try:
            function = import_string(path)
        except ImportError as error:
            text = f"ETP[{setting!r}] names {path!r}, which cannot be imported: {error}."
            raise ImproperlyConfigured(text) from error
        if not iscoroutinefunction(function) and not iscoroutinefunction(getattr(function, "__call__", None)):  # noqa: B004
            raise ImproperlyConfigured(f"ETP[{setting!r}] names {path!r}, which is not an 'async def'.")
        functions.append(function)
    return functions


def _load_if_valid() -> None:
    if not find_problems(getattr(settings, "ETP", {})):  # else a system check names them
        load_middleware()


@receiver(setting_changed)
def _load_again(*, setting: str, **_: object) -> None:
    if setting == "ETP":
        _load_if_valid()
