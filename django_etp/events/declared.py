"""A kind of room that an application declares with ``etp_room``: its pattern, its rules and its functions."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import update_wrapper
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured

from django_etp.exceptions import EventAlreadyRegistered
from django_etp.history.limits import History
from django_etp.protocol.frames import check_event_name
from django_etp.rooms.patterns import RoomPattern

from .handlers import Handler, handler_of
from .limits import RateBy, RateLimit
from .typed import state_writer, typed_if_ready

__all__ = ["DeclaredRoom"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class DeclaredRoom:
    """A kind of room, as ``etp_room`` returns it. Call it with the parameters of a room to get the room's name.

    Attributes:
        pattern: the names of its rooms.
        join_handler: the function that ``etp_room`` decorated.
        state_writer: writes the state that it returns, if it declares a type.
        login_required: whether a client must be logged in.
        permissions: the permissions that the user must have.
        rule: the function of ``allow``, if there is one.
        events: the handlers of the events inside the room.
        leave_handler: the function of ``on_leave``, if there is one.
        has_presence: whether members see who is there.
        describe: the function that returns what others may see of a member, if there is one.
        history: how much of its past a room keeps, if it has a history.
    """

    # Templates call the callables in their context, unless they have this attribute.
    do_not_call_in_templates = True

    def __init__(
        self,
        join_handler: Handler,
        pattern: str,
        login_required: bool,
        permission: str | Iterable[str] | None,
        presence: bool | Callable[..., Any] = False,
        history: History | None = None,
    ) -> None:
        update_wrapper(self, join_handler.function, updated=())
        self.join_handler = join_handler
        self.state_writer = state_writer(join_handler)
        try:
            self.pattern = RoomPattern(pattern)
        except ImproperlyConfigured as error:
            raise ImproperlyConfigured(f"etp_room cannot declare {self.place}: {error}.") from None
        self.login_required = login_required
        names = [permission] if isinstance(permission, str) else permission or ()
        self.permissions = tuple(names)
        if not all(isinstance(name, str) for name in self.permissions):
            raise TypeError(f"permission= of {self.place} takes names of permissions, got {permission!r:.80}.")
        if history is not None and not isinstance(history, History):
            raise TypeError(f"history= of {self.place} takes a History(size=, seconds=), got {history!r:.80}.")
        self.history = history
        self.rule: Handler | None = None
        self.events: dict[str, Handler] = {}
        self.leave_handler: Handler | None = None
        self._check_signature(join_handler, "connection")
        self.has_presence = presence is not False
        self.describe: Handler | None = None
        if not isinstance(presence, bool):
            if not callable(presence):
                raise TypeError(f"presence= of {self.place} takes True, False or a function, got {presence!r:.80}.")
            self.describe = self._new_handler("presence", presence, None, "connection")

    def __repr__(self) -> str:
        return f"<DeclaredRoom {self.pattern.text!r}>"

    def __call__(self, **parameters: Any) -> str:
        """Return the name of the room with these parameters, for each function that takes a room.

        Raises:
            NoRoomMatch: they do not fit the pattern.
        """
        return self.pattern.name(parameters)

    @property
    def place(self) -> str:
        """The place of the join handler, for messages."""
        return self.join_handler.place

    @property
    def has_rules(self) -> bool:
        """Whether who may enter depends on the user."""
        return bool(self.login_required or self.permissions or self.rule)

    def allow(self, function: _Function) -> _Function:
        """Register a function of the user and the parameters that returns whether the user may enter.

        It runs at each join, and again by ``rooms.recheck()``. It may raise ``PermissionDenied`` instead, with a reason
        for the client, or ``ObjectDoesNotExist`` or ``Http404``, which the client sees as ``not_found``.

        Raises:
            EventAlreadyRegistered: the room has such a function already.
            TypeError: it is no function, or does not take the parameters.
        """
        self.rule = self._new_handler("allow", function, self.rule, "user")
        return function

    def event(
        self, name: str, *, rate: str | None = None, rate_by: RateBy = "connection"
    ) -> Callable[[_Function], _Function]:
        """Register the decorated function as the handler of an event inside the room, for members only.

        The function takes the connection, the event and the parameters, and returns the answer. See etp_event(). Events
        in all rooms of this kind count together for ``rate``.

        Raises:
            InvalidEventName: ETP cannot carry the name, or reserves it.
            EventAlreadyRegistered: the event has a handler in this room already.
            TypeError: the decorated object is no function, or does not take the parameters.
            ValueError: ``rate`` or ``rate_by`` is none of those that etp_event() takes.
        """
        check_event_name(name)
        limit = None if rate is None else RateLimit(rate, rate_by, f"{self.pattern.text} {name}")

        def register(function: _Function) -> _Function:
            present = self.events.get(name)
            handler = self._new_handler(f"event {name!r}", function, present, "connection", "event", can_stream=True)
            self.events[name] = typed_if_ready(replace(handler, limit=limit))
            return function

        return register

    def on_leave(self, function: _Function) -> _Function:
        """Register a function of the connection and the parameters that runs once after each membership.

        It runs if the client left, lost its right or was removed, and if its connection closed.

        Raises:
            EventAlreadyRegistered: the room has such a function already.
            TypeError: it is no function, or does not take the parameters.
        """
        self.leave_handler = self._new_handler("on_leave", function, self.leave_handler, "connection")
        return function

    def _new_handler(
        self,
        what: str,
        function: Callable[..., Any],
        present: Handler | None,
        *arguments: str,
        can_stream: bool = False,
    ) -> Handler:
        handler = handler_of(function, can_stream=can_stream)
        if present is not None:
            raise EventAlreadyRegistered(
                f"The room {self.pattern.text!r} has a function for {what} already: {present.place}. {handler.place} "
                "would be the second."
            )
        self._check_signature(handler, *arguments)
        return handler

    def _check_signature(self, handler: Handler, *arguments: str) -> None:
        try:
            signature = inspect.signature(handler.function)
        except ValueError:
            return  # a function in C, which does not know its arguments
        try:
            signature.bind(*arguments, **dict.fromkeys(self.pattern.parameters))
        except TypeError as error:
            expected = ", ".join([*arguments, *sorted(self.pattern.parameters)])
            raise TypeError(
                f"{handler.place} is called with ({expected}), the parameters of the room {self.pattern.text!r} by "
                f"name, which it does not take: {error}."
            ) from None
