"""Infos of connections, as they travel between processes: ``ConnectionInfo`` ↔ columns of plain values.

For thousands of connections, rows would take several times as long to make, to send, and to read.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError

from django_etp.hub.hub import Hub
from django_etp.hub.members import ConnectionInfo, Member

__all__ = ["read_infos", "to_columns"]


def to_columns(hub: Hub, members: Sequence[Member]) -> list[Any]:
    """Return the columns of members of a hub; beside them, each different set of rooms once."""
    sets: dict[frozenset[str], int] = {}
    rooms = [sets.setdefault(hub.membership.rooms_of(member.id), len(sets)) for member in members]
    columns = zip(*[member.to_row() for member in members], strict=True)
    ids, user_ids, connected_at = map(list, columns) if members else ([], [], [])
    return [ids, user_ids, connected_at, rooms, [sorted(each) for each in sets]]


def read_infos(columns: list[Any]) -> list[ConnectionInfo]:
    """Return the infos in columns; a user's id gets the type of the user model's primary key.

    Raises:
        ValueError: the columns differ in length. Other errors too, if they hold something else.
    """
    ids, user_ids, connected_at, rooms, sets = columns
    if not len(ids) == len(user_ids) == len(connected_at) == len(rooms):
        raise ValueError("its columns differ in length")
    if str in set(map(type, user_ids)):
        user_ids = map(_read_user_id, user_ids)
    names = [tuple(each) for each in sets]
    times = map(partial(datetime.fromtimestamp, tz=UTC), connected_at)
    return list(map(ConnectionInfo, ids, user_ids, map(names.__getitem__, rooms), times))


def _read_user_id(text: Any) -> Any:
    try:
        return _user_key().to_python(text)
    except ValidationError:
        return text  # the id of a user that is not Django's, such as a device that a middleware put there


@lru_cache(maxsize=1)
def _user_key() -> Any:
    return get_user_model()._meta.pk
