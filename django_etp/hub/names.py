"""Names of rooms ↔ names of channel-layer groups.

A room name is any text of up to 1,000 characters; a group name is ASCII of under 100. So a group name is a hash of
the namespace and the room, behind the name of the site, and the room's name cannot be read back from it.

Names that start with ``__`` are the library's own. A caller gets one from ``rooms.user()``, as a ``UserRoom``. The same
text as plain ``str`` is refused, since a handler may have it from a client. Between processes the names travel as text.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, cast

from django.core.exceptions import ValidationError
from django.core.signals import setting_changed
from django.dispatch import receiver

from django_etp.conf.layer_names import room_group
from django_etp.exceptions import InvalidRoomName

__all__ = [
    "MAX_ROOM_NAME",
    "RESERVED_PREFIX",
    "UserRoom",
    "check_can_join",
    "check_namespace",
    "check_room_name",
    "group_name",
    "room_name",
    "room_names",
    "user_key",
    "user_room",
]

MAX_ROOM_NAME = 1000
# The library alone puts connections into these rooms; they cannot be joined or left by name.
RESERVED_PREFIX = "__"


class UserRoom(str):
    """The name of a user's room. ``rooms.user()`` returns it; a copy and a pickle of it are one, too."""

    __slots__ = ()


@lru_cache(maxsize=4096)  # a client may choose names of 1,000 characters
def group_name(namespace: str, room: str | None) -> str:
    """Return the name of a room's channel-layer group; ``None`` is the room of all connections of a namespace.

    Raises:
        InvalidRoomName: the room name is not text of at most 1,000 characters.
    """
    text = f"{len(namespace)}:{namespace}"
    if room is not None:
        check_room_name(room)
        text = f"{text}:{room}"
    digest = blake2b(text.encode(), digest_size=20).hexdigest()
    return room_group(digest)


@receiver(setting_changed)
def _forget_groups(*, setting: str, **_: object) -> None:
    if setting == "ETP":  # it may name another site
        group_name.cache_clear()


def user_key(user: Any) -> Any:
    """Return the primary key of a user in the type of the model's field: a user of a token may hold it as text."""
    key, meta = getattr(user, "pk", None), getattr(user, "_meta", None)
    if key is None or meta is None:
        return key
    try:
        return meta.pk.to_python(key)
    except ValidationError:
        return key


def user_room(user_id: object) -> str:
    """Return the name of the room that all connections of a user are in."""
    return f"{RESERVED_PREFIX}user.{user_id}"


def check_namespace(name: object) -> None:
    """Raise ``TypeError`` if ``name`` cannot be the name of a namespace."""
    if not isinstance(name, str):
        raise TypeError(f"The name of a namespace must be str, got {type(name).__name__}: {name!r:.80}.")


def check_can_join(room: object) -> None:
    """Raise ``InvalidRoomName`` if ``room`` is not a room name, or a reserved one."""
    check_room_name(room)
    if isinstance(room, str) and room.startswith(RESERVED_PREFIX):
        raise InvalidRoomName(
            f"Room names that start with {RESERVED_PREFIX!r} are reserved for the library; got {room!r:.80}."
        )


def check_room_name(room: object) -> None:
    """Raise ``InvalidRoomName`` if ``room`` is not a room name."""
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
    """Return the room name that a caller passed, as plain ``str``.

    Raises:
        InvalidRoomName: it is not a room name, or a reserved one that is not from ``rooms.user()``.
    """
    check_room_name(room)
    if room.startswith(RESERVED_PREFIX):
        if not isinstance(room, UserRoom):
            raise InvalidRoomName(
                f"Room names that start with {RESERVED_PREFIX!r} are reserved for the library; got {room!r:.80} as "
                "plain str. For the room of a user pass rooms.user(user) itself, not a text made of it."
            )
        return str(room)
    return room


def room_names(room_or_rooms: str | Iterable[str]) -> list[str]:
    """Return the room names in an argument that is one name or several. See room_name()."""
    is_one = isinstance(room_or_rooms, str | bytes) or not isinstance(room_or_rooms, Iterable)
    return [room_name(room) for room in cast(Iterable[str], [room_or_rooms] if is_one else room_or_rooms)]
