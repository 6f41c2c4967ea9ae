"""Users, as callers of the rooms API give them."""

from typing import Any

from django_etp import tenancy
from django_etp.exceptions import InvalidRoomName
from django_etp.hub.names import user_key

__all__ = ["identity"]


def identity(user: Any) -> str:
    """Return the name in the site of a user, given as one of Django's users or as a primary key.

    Raises:
        InvalidRoomName: the user is anonymous, or not saved yet.
    """
    key = user_key(user) if hasattr(user, "pk") else user
    if key is None:
        raise InvalidRoomName(
            f"A user's room needs a user with a primary key, or that key; got {type(user).__name__} without one. "
            "Check user.is_authenticated first."
        )
    return str(tenancy.identity(user, key))
