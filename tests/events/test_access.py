"""Whether a user may enter a declared room."""

from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404

from django_etp import EventFailed, etp_room
from django_etp.concurrency.workers import run_hook
from django_etp.events.access import call_limited, check_access, refusal_of
from django_etp.events.handlers import handler_of
from tests.support.declared import guest, refused

pytestmark = pytest.mark.usefixtures("etp_registry")


class Superuser:
    """Someone who is not one of Django's users, such as one of a token."""

    is_authenticated = True

    def has_perms(self, names: tuple[str, ...]) -> bool:
        return names == ("a.b", "c.d")


def join(connection: Any, pk: int) -> None: ...


@pytest.mark.parametrize(
    ("rules", "user", "passes"),
    [
        ({}, AnonymousUser(), True),
        ({"login_required": True}, AnonymousUser(), False),
        ({"login_required": True}, Superuser(), True),
        ({"permission": ["a.b", "c.d"]}, Superuser(), True),
        ({"permission": ["a.b", "c.e"]}, Superuser(), False),
        ({"permission": "a.b"}, AnonymousUser(), False),
    ],
)
async def test_login_and_permissions(rules: dict[str, Any], user: Any, passes: bool) -> None:
    room = etp_room("orders/<int:pk>", **rules)(join)
    if passes:
        await check_access(room, {"pk": 5}, user, owner="ana")
    else:
        with pytest.raises(PermissionDenied):
            await check_access(room, {"pk": 5}, user, owner="ana")


@pytest.mark.parametrize(
    ("error", "code"),
    [(PermissionDenied(), "permission_denied"), (ObjectDoesNotExist(), "not_found"), (Http404(), "not_found")],
)
def test_errors_of_django_are_refusals(error: Exception, code: str) -> None:
    refusal = refusal_of(error, "orders/5")
    assert isinstance(refusal, EventFailed)
    assert refusal.code == code
    assert refusal.message


def test_other_errors_stay_what_they_are() -> None:
    for error in (ZeroDivisionError(), EventFailed("full")):
        assert refusal_of(error, "orders/5") is error


async def test_a_timeout_of_the_function_itself_is_passed_on() -> None:
    own = TimeoutError("my own")

    async def fail() -> None:
        raise own

    with pytest.raises(TimeoutError) as caught:
        await call_limited(handler_of(fail), run_hook)
    assert caught.value is own


@pytest.mark.django_db(transaction=True)
async def test_a_user_who_is_gone_has_no_rights() -> None:
    room = etp_room("orders/<int:pk>", permission=())(join)
    room.allow(lambda user, pk: user.is_authenticated)
    etp_room("teams/<int:pk>", permission="auth.view_user")(join)
    user = await User.objects.acreate(username="ana", is_superuser=True)
    async with guest(user=user) as client:
        await client.join("teams/5")
        await User.objects.filter(pk=user.pk).adelete()
        await refused(client, "teams/6", "permission_denied")
        await refused(client, "orders/6", "permission_denied")
