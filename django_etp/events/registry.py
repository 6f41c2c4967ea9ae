"""The registry of handlers and hooks, with the decorators that fill it.

Rules kept here:

- Each namespace has its own handlers and hooks.
- An event has one handler: a second one is refused, with both places in the message.
- Names that start with ``__`` are reserved by ETP.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from typing import Any, TypeVar

from django.utils.module_loading import autodiscover_modules

from django_etp.conf import get_settings
from django_etp.exceptions import EventAlreadyRegistered, InvalidEventName
from django_etp.history.limits import History
from django_etp.hub import histories
from django_etp.hub.names import check_namespace
from django_etp.protocol.frames import check_event_name
from django_etp.schemas.outgoing import build_outgoing

from .declared import DeclaredRoom
from .handlers import Hooks, handler_of
from .limits import RateBy, RateLimit
from .middleware import surrounds
from .namespaces import Namespace
from .typed import prepare, state_writer, typed_if_ready

__all__ = [
    "Registry",
    "etp_event",
    "etp_room",
    "on_connect",
    "on_disconnect",
    "on_error",
    "on_unknown_event",
    "registry",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

# The arguments of each kind of hook.
_ARGUMENTS = {
    "on_connect": ("connection",),
    "on_disconnect": ("connection", "disconnect"),
    "on_error": ("connection", "error"),
    "on_unknown_event": ("connection", "event"),
}


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
        return sorted(name for name, namespace in self._namespaces.items() if namespace.events or namespace.rooms)

    @property
    def has_presence(self) -> bool:
        """Whether a room has presence."""
        return any(room.has_presence for namespace in self._namespaces.values() for room in namespace.rooms)

    @property
    def names(self) -> list[str]:
        """The names of all namespaces, sorted."""
        return sorted(self._namespaces)

    @property
    def has_histories(self) -> bool:
        """Whether a declared room has a history."""
        return any(room.history for namespace in self._namespaces.values() for room in namespace.rooms)

    def history_of(self, namespace: str, room: str) -> History | None:
        """Return how much a room keeps, by its name, if it has a history."""
        found = self._namespaces.get(namespace)
        return found.history_of(room) if found is not None and found.rooms else None

    def find_declared(self, room: object) -> list[tuple[str, DeclaredRoom]]:
        """Return the declared rooms, with their namespaces, that are an object, or have a join handler of a name."""
        return [
            (name, each)
            for name, namespace in self._namespaces.items()
            for each in namespace.rooms
            if each is room or getattr(each.join_handler.function, "__name__", None) == room
        ]

    def etp_event(
        self, name: str, *, namespace: str = "default", rate: str | None = None, rate_by: RateBy = "connection"
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function as the handler of the event ``name``.

        The function takes the connection and the event, and returns the answer: ``None`` for an empty one, str as it
        is, anything else as JSON. An ``async def`` runs on the event loop; a plain ``def`` runs in a thread and may use
        the ORM.

        If its second argument is annotated with another type than ``Event``, it gets the data of the event as a value
        of that type; if its result is annotated, that is written as a value of the type.

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
            TypeError: the decorated object is no function, or cannot be called with two arguments; the types that it
                declares cannot be read or written; or the namespace is not str.
            ValueError: ``rate`` or ``rate_by`` is none of these.
        """
        _check_event_name(name)
        limit = None if rate is None else RateLimit(rate, rate_by, name)

        def register(function: _Function) -> _Function:
            handler = replace(handler_of(function, "connection", "event", can_stream=True), limit=limit)
            events = self.namespace(namespace).events
            if name in events:
                raise EventAlreadyRegistered(
                    f"Event {name!r} (namespace {namespace!r}) has a handler already: {events[name].place}. "
                    f"{handler.place} would be the second. Rename one of them, or use another namespace."
                )
            events[name] = typed_if_ready(handler)
            if limit is not None:
                surrounds.expect_rates()
            return function

        return register

    def etp_room(
        self,
        pattern: str,
        *,
        namespace: str = "default",
        login_required: bool = False,
        permission: str | Iterable[str] | None = None,
        presence: bool | Callable[..., Any] = False,
        history: History | None = None,
    ) -> Callable[[Callable[..., Any]], DeclaredRoom]:
        """Declare a kind of room, and register the decorated function as its join handler.

        The function takes the connection and the parameters of the pattern. Its result is the state of the room, which
        a client gets with the answer to its join. It runs after the other checks, and refuses the client with
        ``PermissionDenied``, ``ObjectDoesNotExist`` or ``Http404``. It has 10 s.

        Args:
            pattern: names of rooms, written as in Django's ``path()``, such as ``"orders/<int:pk>"``.
            namespace: the namespace of the rooms.
            login_required: whether a client must be logged in.
            permission: the name of a permission that the user must have, or several.
            presence: whether members see who is there; or a function of the connection and the parameters that returns
                what others may see of a member, a dict that JSON can hold.
            history: how much of its past a room keeps. A client that was away gets what it missed, once and in order.

        Raises:
            ImproperlyConfigured: the pattern is not valid or has no literal part, or another room's pattern can match
                the same names.
            TypeError: the decorated object is no function, or does not take the parameters; or an argument has another
                type.
        """

        def register(function: Callable[..., Any]) -> DeclaredRoom:
            room = DeclaredRoom(handler_of(function), pattern, login_required, permission, presence, history)
            self.namespace(namespace).add_room(room)
            if history is not None:
                histories.limits_of = self.history_of
            return room

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

        Raises:
            TypeError: a handler or outgoing() declares a type that cannot be read or written.
        """
        autodiscover_modules(*get_settings().event_modules)
        namespaces = self._namespaces.values()
        declared = [room for namespace in namespaces for room in namespace.rooms]
        prepare([*(namespace.events for namespace in namespaces), *(room.events for room in declared)])
        for room in declared:
            room.state_writer = state_writer(room.join_handler)
        build_outgoing()

    @contextmanager
    def isolated(self) -> Iterator[Registry]:
        """Undo all registrations of the block at its end; for tests."""
        kept = {name: copy(namespace) for name, namespace in self._namespaces.items()}
        try:
            yield self
        finally:
            self._namespaces.clear()
            self._namespaces.update(kept)
            histories.limits_of = self.history_of if self.has_histories else None

    def _add_hook(self, kind: str, function: Any, namespace: str) -> Any:
        if isinstance(function, str):
            raise TypeError(f"{kind} decorates a function, got {function!r:.40}. Write @{kind}(namespace=…).")

        def register(function: _Function) -> _Function:
            hooks: Hooks = getattr(self.namespace(namespace), kind)
            hooks.add(handler_of(function, *_ARGUMENTS[kind]))
            return function

        return register if function is None else register(function)


def _check_event_name(name: object) -> None:
    if not isinstance(name, str):
        raise InvalidEventName(f'etp_event takes the name of the event, as in @etp_event("hello"); got {name!r:.80}.')
    check_event_name(name)


registry = Registry()
etp_event = registry.etp_event
etp_room = registry.etp_room
on_connect = registry.on_connect
on_disconnect = registry.on_disconnect
on_error = registry.on_error
on_unknown_event = registry.on_unknown_event
