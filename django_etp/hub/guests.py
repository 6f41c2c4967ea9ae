"""The guests of one hub: connections that entered declared rooms, or are about to, because their clients asked to join.

Rules kept here:

- A guest is here from the moment its client asks to join until the end of its membership. So a removal finds those,
  too, whose join is still under way.
- A guest that is inside gets the events of the room in the form that names the room.
- While a join handler runs, the events of the room are held for its connection: they follow the answer.
- Without guests nothing is kept, neither for a room nor for a connection.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from .members import Member

__all__ = ["Guest", "Guests", "RoomGuests"]

_Room = tuple[str, str]


class Guest(Protocol):
    """One connection in one declared room, as its hub sees it."""

    @property
    def id(self) -> str:
        """The id of the connection."""

    @property
    def key(self) -> _Room:
        """The namespace and the name of the room."""

    @property
    def is_waiting(self) -> bool:
        """Whether the connection waits in the room, and is no member yet."""

    def hold(self, frame: str) -> None:
        """Keep a frame until the join is answered."""

    def end(self) -> None:
        """Record that the server has taken the connection out of the room."""


@dataclass(slots=True)
class RoomGuests:
    """The guests of one room by the ids of their connections.

    Attributes:
        inside: those that are inside.
        waiting: those whose join handlers run. Such a guest may be inside as well, if it joins once more.
    """

    inside: dict[str, Guest] = field(default_factory=dict)
    waiting: dict[str, Guest] = field(default_factory=dict)


class Guests:
    """The guests of one hub.

    Attributes:
        by_room: the guests that are inside a room, or wait in it for the answer to their join.
    """

    __slots__ = ("_of", "by_room")

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Guest]] = {}
        self.by_room: dict[tuple[str, str | None], RoomGuests] = {}

    # Changes

    def add(self, guest: Guest) -> None:
        """Record that a client has asked to join a room."""
        self._of.setdefault(guest.id, {})[guest.key[1]] = guest

    def wait(self, guest: Guest) -> None:
        """Hold the events of the room for a guest from now on."""
        self.by_room.setdefault(guest.key, RoomGuests()).waiting[guest.id] = guest

    def enter(self, guest: Guest) -> None:
        """Let a guest inside: it gets the events of the room from now on."""
        guests = self.by_room.setdefault(guest.key, RoomGuests())
        guests.waiting.pop(guest.id, None)
        guests.inside[guest.id] = guest

    def remove(self, guest: Guest) -> None:
        """Remove a guest that has left, or was not let in."""
        rooms = self._of.get(guest.id, {})
        if rooms.get(guest.key[1]) is not guest:
            return
        del rooms[guest.key[1]]
        if not rooms:
            del self._of[guest.id]
        self._take_out(guest)

    def close(self, connection_id: str) -> None:
        """Take the guests of a connection that has ended out of their rooms; each is still to be removed."""
        for guest in self._of.get(connection_id, _NONE).values():
            self._take_out(guest)

    def _take_out(self, guest: Guest) -> None:
        if (guests := self.by_room.get(guest.key)) is not None:
            guests.waiting.pop(guest.id, None)
            guests.inside.pop(guest.id, None)
            if not (guests.waiting or guests.inside):
                del self.by_room[guest.key]

    def end(self, connection_id: str, rooms: Iterable[str]) -> None:
        """Let the guests of a connection that was taken out of rooms end."""
        for room in rooms:
            if (guest := self.get(connection_id, room)) is not None:
                guest.end()

    # Looking

    def get(self, connection_id: str, room: str) -> Guest | None:
        """Return a connection's guest in a room."""
        return self._of.get(connection_id, _NONE).get(room)

    def of(self, connection_id: str) -> list[Guest]:
        """Return the guests of a connection."""
        return list(self._of.get(connection_id, _NONE).values())

    def all(self) -> list[Guest]:
        """Return all guests."""
        return [guest for rooms in self._of.values() for guest in rooms.values()]

    def room_of(self, member: Member, rooms: Iterable[str]) -> str | None:
        """Return the first of these rooms that a connection is inside of as a guest."""
        by_room = self.by_room
        for room in rooms if by_room else ():
            guests = by_room.get((member.namespace, room))
            if guests is not None and member.id in guests.inside:
                return room
        return None


_NONE: dict[str, Guest] = {}
