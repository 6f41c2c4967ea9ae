"""Receive Django's signals of changed groups and permissions, and let all processes check declared rooms again.

Rules kept here:

- A project without declared rooms sends no notices.
- If it is known which users have lost or got something, only these are checked.
- In a transaction the processes are notified after the commit.
"""

from collections.abc import Collection
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete

from django_etp import tenancy
from django_etp.hub.names import user_key
from django_etp.rooms.patterns import are_used
from django_etp.rooms.removal import Recheck

from .receivers import is_in_transaction, notify

__all__ = ["connect_permission_signals"]

# If more users have changed at once, all are checked.
_MANY = 100


def connect_permission_signals() -> None:
    """Connect to Django's signals of users' groups and permissions, of groups' permissions, and of deleted ones."""
    users = get_user_model()
    for through in filter(None, [_through(users, "groups"), _through(users, "user_permissions")]):
        m2m_changed.connect(_check_users, sender=through, dispatch_uid="django_etp.user_permissions")
    if not apps.is_installed("django.contrib.auth"):
        return
    group, permission = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    m2m_changed.connect(_check_all, sender=_through(group, "permissions"), dispatch_uid="django_etp.group_permissions")
    for model in (group, permission):
        post_delete.connect(_check_all, sender=model, dispatch_uid="django_etp.group_deleted")


def _through(model: type[Model], name: str) -> Any:
    """Return the model of the rows of a many-to-many field; ``None`` if the model has no such field."""
    try:
        return getattr(model._meta.get_field(name).remote_field, "through", None)
    except FieldDoesNotExist:
        return None


def _check_users(
    *, instance: Any, action: str, reverse: bool, pk_set: Collection[Any] | None, using: str, **kwargs: Any
) -> None:
    if not reverse:
        _recheck([user_key(instance)], action, using)
    elif pk_set is not None and len(pk_set) <= _MANY:
        _recheck(pk_set, action, using)
    else:
        _recheck([None], action, using)


def _check_all(*, using: str, action: str = "post_delete", **kwargs: Any) -> None:
    _recheck([None], action, using)


def _recheck(keys: Collection[Any], action: str, using: str) -> None:
    """Let the rooms of the users with these primary keys be checked; those of all users for ``None``."""
    if not are_used() or not action.startswith("post_"):
        return
    schema = tenancy.schema_on(using)
    for key in keys:
        user_id = None if key is None else str(tenancy.identity(None, key, schema))
        if is_in_transaction(using):
            transaction.on_commit(partial(notify, Recheck("", user_id, None)), using=using)
        else:
            notify(Recheck("", user_id, None))
