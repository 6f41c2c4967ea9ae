"""The registry of handlers and hooks, with the decorators that fill it.

Rules kept here:

- Each namespace has its own handlers and hooks.
- An event has one handler: a second one is refused, with both places in the message.
- Names that start with ``__`` are reserved by ETP.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

from asgiref.sync import iscoroutinefunction
from django.utils.module_loading import autodiscover_modules

from django_etp.conf import get_settings
from django_etp.exceptions import EventAlreadyRegistered, InvalidEventName
from django_etp.hub.names import check_namespace
from django_etp.protocol.frames import check_event_name

from .handlers import Handler, Hooks, Namespace
from .limits import RateBy, RateLimit
from .middleware import surrounds

__all__ = [
    "Registry",
    "etp_event",
    "on_connect",
    "on_disconnect",
    "on_error",
    "on_unknown_event",
    "registry",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Registry:
    """All handlers and hooks, by namespace. The decorators are methods of the one instance, ``registry``."""

    def __init__(self) -> None:
        self._namespaces: defaultdict[str, Namespace] = defaultdict(Namespace)

    def namespace(self, name: str) -> Namespace:
        """Return the handlers and hooks of a namespace.

        Raises:
            TypeError: the name is not str.
        """
        check_namespace(name)
        return self._namespaces[name]

    @property
    def handled(self) -> list[str]:
        """The names of the namespaces with handlers, sorted."""
        return sorted(name for name, namespace in self._namespaces.items() if namespace.events)

    def etp_event(
        self, name: str, *, namespace: str = "default", rate: str | None = None, rate_by: RateBy = "connection"
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function as the handler of the event ``name``.

        The function takes the connection and the event, and returns the answer: ``None`` for an empty one, str as it
        is, anything else as JSON. An ``async def`` runs on the event loop; a plain ``def`` runs in a thread and may use
        the ORM.

        Args:
            name: the event's name.
            namespace: the namespace of its connections.
            rate: how many of these events are handled, such as ``"20/s"`` or ``"100/min"``. Those over it fail with
                ``rate_limited``.
            rate_by: whether ``rate`` is that of a ``"connection"``, or of a ``"user"`` or an address (``"ip"``) in all
                processes. Users who are anonymous count by address.

        Raises:
            InvalidEventName: ETP cannot carry the name, or reserves it.
            EventAlreadyRegistered: the event has a handler already.
            TypeError: the decorated object is no function, or the namespace is not str.
            ValueError: ``rate`` or ``rate_by`` is none of these.
        """
        _check_event_name(name)
        limit = None if rate is None else RateLimit(rate, rate_by, f"{namespace}\0{name}")

        def register(function: _Function) -> _Function:
            handler = _handler(function)
            events = self.namespace(namespace).events
            if name in events:
                raise EventAlreadyRegistered(
                    f"Event {name!r} (namespace {namespace!r}) has a handler already: {events[name].place}. "
                    f"{handler.place} would be the second. Rename one of them, or use another namespace."
                )
            events[name] = handler if limit is None else replace(handler, limit=limit)
            if limit is not None:
                surrounds.expect_rates()
            return function

        return register

    def on_connect(self, function: Any = None, *, namespace: str = "default") -> Any:
        """Register a function of the connection that runs before it is accepted.

        It may raise ``RejectConnection`` or Django's ``PermissionDenied``: the client then sees HTTP 403. After any
        other exception the client may try again (HTTP 503, or a close with 1013). All on_connect hooks together have
        4 s.
        """
        return self._add_hook("on_connect", function, namespace)

    def on_disconnect(self, function: Any = None, *, namespace: str = "default") -> Any:
        """Register a function of the connection and a ``Disconnect``; it runs once after an accepted connection."""
        return self._add_hook("on_disconnect", function, namespace)

    def on_error(self, function: Any = None, *, namespace: str = "default") -> Any:
        """Register a function of the connection (``None`` if there is none yet) and the exception.

        It runs once a minute for each kind of failure of a connection: a class of error and the code that raised it.
        """
        return self._add_hook("on_error", function, namespace)

    def on_unknown_event(self, function: Any = None, *, namespace: str = "default") -> Any:
        """Register a function of the connection and an event without a handler; its result is the answer."""
        return self._add_hook("on_unknown_event", function, namespace)

    def discover(self) -> None:
        """Import the modules named by the setting ``EVENT_MODULES`` from every installed app.

        An error inside such a module is raised as it is.
        """
        autodiscover_modules(*get_settings().event_modules)

    @contextmanager
    def isolated(self) -> Iterator[Registry]:
        """Undo all registrations of the block at its end; for tests."""
        kept = {name: copy(namespace) for name, namespace in self._namespaces.items()}
        try:
            yield self
        finally:
            self._namespaces.clear()
            self._namespaces.update(kept)

    def _add_hook(self, kind: str, function: Any, namespace: str) -> Any:
        if isinstance(function, str):
            raise TypeError(f"{kind} decorates a function, got {function!r:.40}. Write @{kind}(namespace=…).")

        def register(function: _Function) -> _Function:
            hooks: Hooks = getattr(self.namespace(namespace), kind)
            hooks.add(_handler(function))
            return function

        return register if function is None else register(function)


def _check_event_name(name: object) -> None:
    if not isinstance(name, str):
        raise InvalidEventName(f'etp_event takes the name of the event, as in @etp_event("hello"); got {name!r:.80}.')
    check_event_name(name)


def _handler(function: Callable[..., Any]) -> Handler:
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"A handler must be a function, got {function!r:.80}.")
    call = getattr(function, "__call__", None)  # noqa: B004 (an instance's method, which may be async)
    if any(inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each) for each in (function, call)):
        raise TypeError(f"A handler must not be a generator: {function!r:.80}. Return the answer instead of yielding.")
    return Handler(function, iscoroutinefunction(function) or iscoroutinefunction(call))


registry = Registry()
etp_event = registry.etp_event
on_connect = registry.on_connect
on_disconnect = registry.on_disconnect
on_error = registry.on_error
on_unknown_event = registry.on_unknown_event
