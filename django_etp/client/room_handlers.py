"""The handlers of a room's events, and its functions of other things, as an application registers them."""

from collections.abc import Callable
from typing import Any, TypeVar

from django_etp.exceptions import EtpError, EventFailed
from django_etp.protocol.frames import Event, check_event_name

from .handlers import call

__all__ = ["RoomHandlers"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


class RoomHandlers:
    """The registering half of ``ClientRoom``."""

    def __init__(self) -> None:
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._hooks: dict[str, list[Callable[..., Any]]] = {"state": [], "left": [], "presence": []}

    def on(self, name: str) -> Callable[[_Function], _Function]:
        """Register the decorated function as the handler of the event ``name`` inside the room. See EtpClient.on().

        Raises:
            EtpError: the event already has a handler in this room.
            InvalidEventName: an event cannot have this name.
        """
        check_event_name(name)

        def register(function: _Function) -> _Function:
            if name in self._handlers:
                raise EtpError(f"Event {name!r:.80} already has a handler in this room: {self._handlers[name]!r:.200}.")
            self._handlers[name] = function
            return function

        return register

    def on_state(self, function: _Function) -> _Function:
        """Register a function of the room's state, and of whether all missed events follow (a bool).

        It runs after the join, and after each return.
        """
        self._hooks["state"].append(function)
        return function

    def on_left(self, function: _Function) -> _Function:
        """Register a function of an ``EventFailed`` that runs if the server takes the client out, or refuses a return.

        The error has the ``code`` and the ``message`` of the server. The client does not return to the room by itself
        then.
        """
        self._hooks["left"].append(function)
        return function

    def on_presence(self, function: _Function) -> _Function:
        """Register a function of the members; it runs after the join, after each return, and after each change."""
        self._hooks["presence"].append(function)
        return function

    async def handle(self, event: Event) -> object:
        """Return the result of the handler of an event inside the room.

        Raises:
            EventFailed: the event has no handler here.
        """
        if handler := self._handlers.get(event.name):
            return await call(handler, event)
        raise EventFailed("unknown_event", f"No handler for the event {event.name[:80]!r} in this room.")
