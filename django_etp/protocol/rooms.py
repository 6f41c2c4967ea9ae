"""Declared rooms on the wire, for peers that speak ``etp.ext.v2``.

Rules kept here:

- A client joins and leaves with the events ``__join`` and ``__leave``, whose data is ``{"room": name}``.
- An event inside a room is ``__in <room> <event>``, in both directions. The name of a room holds no space, so the name
  of the event, which may hold some, is the rest.
- In a room with history the server writes the position of the event behind the name of the room, as in
  ``__in <room>@<position> <event>``. A position holds no ``@``. Those of one epoch, the text before the last ``.``, are
  in the order of the numbers behind it.
- ``__presence`` is an event inside a room with presence: entries that joined, changed and left, or their number.
- ``__left`` reports to a client that the server took it out of a room.

No I/O, no Django: server, client and testing kit share this module.
"""

import json
import re

from .frames import Event, encode

__all__ = [
    "IN",
    "JOIN",
    "LEAVE",
    "LEFT",
    "PRESENCE",
    "encode_left",
    "in_room",
    "is_later",
    "read_in_room",
    "split_position",
    "without_position",
]

JOIN = "__join"
LEAVE = "__leave"
LEFT = "__left"
IN = "__in "
PRESENCE = "__presence"

_POSITIONED = re.compile(r"(.+)@([^@]*\.[0-9]+)", re.DOTALL)


def in_room(room: str | None, frame: str, position: object = None) -> str:
    """Return the frame, or the name, of an event inside a room, for that of the same event outside of rooms.

    ``position`` is that of the event, if the room has a history.
    """
    if position is not None:
        room = f"{room}@{position}"
    return frame if room is None else f"{IN}{room} {frame}"


def read_in_room(event: Event) -> tuple[str, Event] | None:
    """Return the room of an event, and the event by the name that it has inside the room; ``None`` if it is in none."""
    mark, _, rest = event.name.partition(" ")
    room, space, name = rest.partition(" ")
    if mark != IN.rstrip() or not room or not space:
        return None
    return room, Event(name, event.ack_id, event.data)


def split_position(name: str) -> tuple[str, str]:
    """Return the room, and the position, of which a name in an event may consist; the position is ``""`` without one.

    Only a room with history has positions: the name may be that of another room.
    """
    found = _POSITIONED.fullmatch(name)
    return (name, "") if found is None else (found[1], found[2])


def without_position(name: str) -> str:
    """Return the name of an event on the wire as it would be if its room had no history."""
    mark, room, rest = (*name.split(" ", 2), "", "")[:3]
    return f"{IN}{split_position(room)[0]} {rest}" if mark == IN.rstrip() and rest else name


def is_later(position: str, than: str | None) -> bool:
    """Return whether a position is after another one, or is of another epoch."""
    (epoch, _, number), (other, _, known) = position.rpartition("."), (than or "").rpartition(".")
    return epoch != other or not known.isdecimal() or int(number) > int(known)


def encode_left(room: str, code: str, message: str) -> str:
    """Return the frame that reports to a client that the server took it out of a room."""
    return encode(Event(LEFT, 0, json.dumps({"room": room, "code": code, "message": message})))
