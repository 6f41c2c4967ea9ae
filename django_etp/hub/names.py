"""Names of rooms ↔ names of channel-layer groups.

A room name is any text of up to 1,000 characters; a group name is ASCII of under 100. So a group name is a hash of
the namespace and the room, and nobody can read a room out of it.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, cast

from django.core.exceptions import ValidationError

from django_etp.exceptions import InvalidRoomName

__all__ = [
    "MAX_ROOM_NAME",
    "RESERVED_PREFIX",
    "check_can_join",
    "check_room_name",
    "group_name",
    "room_name",
    "room_names",
    "user_key",
    "user_room",
]

MAX_ROOM_NAME = 1000
# Rooms that connections are put in by the library; nobody joins or leaves one by name.
RESERVED_PREFIX = "__"


@lru_cache(maxsize=16_384)
def group_name(namespace: str, room: str | None) -> str:
    """Return the name of a room's channel-layer group; ``None`` is the room where all of a namespace are.

    Raises:
        InvalidRoomName: the room name is not text of at most 1,000 characters.
    """
    text = f"{len(namespace)}:{namespace}"
    if room is not None:
        check_room_name(room)
        text = f"{text}:{room}"
    digest = blake2b(text.encode(), digest_size=20).hexdigest()
    return f"etp.room.{digest}"


def user_key(user: Any) -> Any:
    """Return the primary key of a user as Django converts it: a user made from a token may hold it as text."""
    key, meta = getattr(user, "pk", None), getattr(user, "_meta", None)
    if key is None or meta is None:
        return key
    try:
        return meta.pk.to_python(key)
    except ValidationError:
        return key


def user_room(user_id: object) -> str:
    """Return the room that all connections of a user are in."""
    return f"{RESERVED_PREFIX}user.{user_id}"


def check_can_join(room: object) -> None:
    """Raise ``InvalidRoomName`` where ``room`` is no room name, or a reserved one."""
    check_room_name(room)
    if isinstance(room, str) and room.startswith(RESERVED_PREFIX):
        raise InvalidRoomName(
            f"Room names that start with {RESERVED_PREFIX!r} are reserved: nobody joins them by name; got {room!r:.80}."
        )


def check_room_name(room: object) -> None:
    """Raise ``InvalidRoomName`` where ``room`` is no room name."""
    if not isinstance(room, str):
        raise InvalidRoomName(f"A room name must be str, got {type(room).__name__}: {room!r:.80}.")
    if len(room) > MAX_ROOM_NAME:
        raise InvalidRoomName(
            f"A room name must have at most {MAX_ROOM_NAME:,} characters, got {len(room):,}: {room[:40]!r}…"
        )
    try:
        room.encode()
    except UnicodeEncodeError:
        raise InvalidRoomName(f"A room name must be valid Unicode, got a lone surrogate in {room!a:.80}.") from None


def room_name(room: str) -> str:
    """Return ``room``, which must be a room name. See check_room_name()."""
    check_room_name(room)
    return room


def room_names(room_or_rooms: str | Iterable[str]) -> list[str]:
    """Return the names in what callers pass, one room or several. See check_room_name()."""
    is_one = isinstance(room_or_rooms, str | bytes) or not isinstance(room_or_rooms, Iterable)
    rooms = cast(list[str], [room_or_rooms] if is_one else list(room_or_rooms))
    for room in rooms:
        check_room_name(room)
    return rooms


def check_namespace(name: object) -> None:
    """Raise ``TypeError`` where ``name`` is no namespace's name."""
    if not isinstance(name, str):
        raise TypeError(f"The name of a namespace must be str, got {type(name).__name__}: {name!r:.80}.")
