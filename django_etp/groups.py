"""Names of rooms ↔ names of channel-layer groups.

A room name is any text of up to 1,000 characters; a group name is ASCII of under 100. So a group name is a hash of
the namespace and the room, and nobody can read a room out of it.
"""

from functools import lru_cache
from hashlib import blake2b

from .exceptions import InvalidRoomName

__all__ = ["MAX_ROOM_NAME", "group_name"]

MAX_ROOM_NAME = 1000


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
