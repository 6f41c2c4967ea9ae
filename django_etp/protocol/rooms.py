"""Frames of declared rooms, between peers that both speak ``etp.ext.v2``: their names."""

from django_etp.exceptions import InvalidEventName

__all__ = ["IN", "JOIN", "LEAVE", "LEFT", "in_room", "read_in_room"]

JOIN = "__join"
LEAVE = "__leave"
LEFT = "__left"
IN = "__in"

_START = f"{IN} "


def in_room(room: str, event: str) -> str:
    """Return the name on the wire of an event inside a room.

    Raises:
        InvalidEventName: the room's name holds a space or ``|``, or is empty.
    """
    if not room or " " in room or "|" in room:
        raise InvalidEventName(f"The name of a declared room holds no space and no '|', and is not empty: {room!r:.80}")
    return f"{_START}{room} {event}"


def read_in_room(name: str) -> tuple[str, str] | None:
    """Return the room and the event that a name on the wire holds; ``None`` if it is not that of an event in a room."""
    if not name.startswith(_START):
        return None
    room, space, event = name.removeprefix(_START).partition(" ")
    return (room, event) if space else None
