"""Declared rooms on the wire, for peers that speak ``etp.ext.v2``.

Rules kept here:

- A client joins and leaves with the events ``__join`` and ``__leave``, whose data is ``{"room": name}``.
- An event inside a room is ``__in <room> <event>``, in both directions. The name of a room holds no space, so the name
  of the event, which may hold some, is the rest.
- ``__presence`` is an event inside a room with presence: entries that joined, changed and left, or their number.
- ``__left`` reports to a client that the server took it out of a room.

No I/O, no Django: server, client and testing kit share this module.
"""

import json

from .frames import Event, encode

__all__ = ["IN", "JOIN", "LEAVE", "LEFT", "PRESENCE", "encode_left", "in_room", "read_in_room"]

JOIN = "__join"
LEAVE = "__leave"
LEFT = "__left"
IN = "__in "
PRESENCE = "__presence"


def in_room(room: str | None, frame: str) -> str:
    """Return the frame, or the name, of an event inside a room, for that of the same event outside of rooms."""
    return frame if room is None else f"{IN}{room} {frame}"


def read_in_room(event: Event) -> tuple[str, Event] | None:
    """Return the room of an event, and the event by the name that it has inside the room; ``None`` if it is in none."""
    mark, _, rest = event.name.partition(" ")
    room, space, name = rest.partition(" ")
    if mark != IN.rstrip() or not room or not space:
        return None
    return room, Event(name, event.ack_id, event.data)


def encode_left(room: str, code: str, message: str) -> str:
    """Return the frame that reports to a client that the server took it out of a room."""
    return encode(Event(LEFT, 0, json.dumps({"room": room, "code": code, "message": message})))
