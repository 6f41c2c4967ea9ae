"""Load the users of connections from the database, as they are now."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import router

__all__ = ["load_users"]


def load_users(ids: Iterable[Any]) -> dict[Any, Any]:
    """Return the users of these primary keys that exist, by their keys. This queries the database."""
    wanted, users = [id for id in set(ids) if _is_key(id)], {}
    # Not from a replica, which may lag behind.
    stored = get_user_model()._base_manager.using(router.db_for_write(get_user_model()))
    for start in range(0, len(wanted), 500):
        users.update(stored.in_bulk(wanted[start : start + 500]))
    return users


def _is_key(id: Any) -> bool:
    try:
        get_user_model()._meta.pk.get_prep_value(id)
    except (TypeError, ValueError, ValidationError):
        return False  # a token may hold anything; in a database query it would fail the check of all users
    return True
