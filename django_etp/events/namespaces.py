"""The handlers, hooks and declared rooms of one namespace."""

from __future__ import annotations

from copy import copy
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from .declared import DeclaredRoom
from .handlers import Handler, Hooks

__all__ = ["Namespace"]


class Namespace:
    """The handlers, hooks and declared rooms of one namespace."""

    __slots__ = ("events", "on_connect", "on_disconnect", "on_error", "on_unknown_event", "rooms")

    def __init__(self) -> None:
        self.events: dict[str, Handler] = {}
        self.on_connect = Hooks()
        self.on_disconnect = Hooks()
        self.on_error = Hooks()
        self.on_unknown_event = Hooks()
        self.rooms: list[DeclaredRoom] = []

    def __copy__(self) -> Namespace:
        twin = Namespace()
        for name in Namespace.__slots__:
            setattr(twin, name, copy(getattr(self, name)))
        return twin

    def add_room(self, room: DeclaredRoom) -> None:
        """Add a declared room.

        Raises:
            ImproperlyConfigured: the pattern of another one can match the same names.
        """
        for other in self.rooms:
            if other.pattern.can_overlap(room.pattern):
                raise ImproperlyConfigured(
                    f"The patterns of two declared rooms can match one name: {other.pattern.text!r} of {other.place}, "
                    f"and {room.pattern.text!r} of {room.place}. Give one of them another literal part, or declare it "
                    "in another namespace."
                )
        self.rooms.append(room)

    def find_room(self, name: str) -> tuple[DeclaredRoom, dict[str, Any]] | None:
        """Return the declared room whose pattern matches a name, and the parameters; ``None`` if none matches."""
        for room in self.rooms:
            if (parameters := room.pattern.match(name)) is not None:
                return room, parameters
        return None
