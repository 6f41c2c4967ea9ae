"""Django's signals of changed groups and permissions end memberships of declared rooms."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, Permission, User
from django.db import transaction

from django_etp import Connection, etp_room
from django_etp.auth import permissions
from django_etp.rooms.removal import Recheck
from tests.support.declared import guest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("etp_registry")]


def prepare() -> tuple[User, Group, Permission]:
    user, group = User.objects.create(username="ana"), Group.objects.create(name="buyers")
    permission = Permission.objects.get(codename="view_group")
    group.permissions.add(permission)
    user.groups.add(group)
    user.user_permissions.add(Permission.objects.get(codename="view_user"))
    return user, group, permission


def demote(user: User, group: Group, permission: Permission) -> None:
    User.objects.filter(pk=user.pk).update(is_active=False)
    user.save(update_fields=["first_name"])


CHANGES: dict[str, Callable[..., Any]] = {
    "the user leaves the group": lambda user, group, permission: user.groups.remove(group),
    "the user leaves all groups": lambda user, group, permission: user.groups.clear(),
    "the user gets other groups": lambda user, group, permission: user.groups.set([]),
    "the group loses the user": lambda user, group, permission: group.user_set.remove(user),
    "the group loses all users": lambda user, group, permission: group.user_set.clear(),
    "the group loses the permission": lambda user, group, permission: group.permissions.clear(),
    "the permission loses the group": lambda user, group, permission: permission.group_set.clear(),
    "the group is deleted": lambda user, group, permission: group.delete(),
    "all groups are deleted": lambda user, group, permission: Group.objects.all().delete(),
    "the permission is deleted": lambda user, group, permission: permission.delete(),
    "the user loses a permission": lambda user, group, permission: user.user_permissions.clear(),
    "the user is saved": demote,
}


@pytest.mark.parametrize("what", CHANGES)
async def test_who_loses_a_permission_is_taken_out(what: str) -> None:
    needed = "auth.view_user" if what in ("the user loses a permission", "the user is saved") else "auth.view_group"

    @etp_room("orders/<int:pk>", permission=needed)
    async def join(connection: Connection, pk: int) -> None: ...

    user, group, permission = await sync_to_async(prepare)()
    async with guest(user=user) as client:
        order = await client.join("orders/5")
        await sync_to_async(CHANGES[what])(user, group, permission)
        await order.expect_left("permission_denied", timeout=2)


async def test_a_transaction_notifies_after_its_commit() -> None:
    @etp_room("orders/<int:pk>", permission="auth.view_group")
    async def join(connection: Connection, pk: int) -> None: ...

    user, group, _ = await sync_to_async(prepare)()

    def roll_back() -> None:
        with transaction.atomic():
            user.groups.remove(group)
            transaction.set_rollback(True)

    async with guest(user=user) as client:
        order = await client.join("orders/5")
        await sync_to_async(roll_back)()
        await client.expect_nothing()
        await sync_to_async(user.groups.remove)(group)
        await order.expect_left("permission_denied", timeout=2)


@pytest.mark.parametrize("is_used", [True, False])
async def test_without_declared_rooms_nobody_is_notified(is_used: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    notified: list[Recheck] = []
    user, group, _ = await sync_to_async(prepare)()
    monkeypatch.setattr(permissions, "are_used", lambda: is_used)
    monkeypatch.setattr(permissions, "notify", notified.append)
    await sync_to_async(user.groups.remove)(group)
    await sync_to_async(group.user_set.add)(*[await User.objects.acreate(username=str(each)) for each in range(101)])
    await asyncio.sleep(0)
    assert notified == ([Recheck("", str(user.pk), None), Recheck("", None, None)] if is_used else [])
