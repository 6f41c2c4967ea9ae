"""Who may be in declared rooms is checked again: by call, at intervals, and while joins are under way."""

import asyncio
import logging
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Permission, User
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.db import OperationalError
from django.db import connection as database

from django_etp import Connection, etp_room, rooms
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest, join_frame, refused
from tests.support.hooks import both
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


def declare(pattern: str = "orders/<int:pk>", **options: Any) -> Any:
    @etp_room(pattern, **options)
    async def join(connection: Connection, pk: int) -> None: ...

    return join


def rule(room: Any, verdict: list[Any], is_async: bool = True) -> list[str]:
    """Let the first item decide who may enter: a result, or an error. Return a list of the users who were asked for."""
    asked: list[str] = []

    def allow(user: Any, pk: int) -> Any:
        asked.append(user.username)
        if isinstance(verdict[0], BaseException):
            raise verdict[0]
        return verdict[0]

    async def allow_async(user: Any, pk: int) -> Any:
        return allow(user, pk)

    room.allow(allow_async if is_async else allow)
    return asked


async def nothing_more(client: EtpCommunicator, room: str = "orders/5") -> None:
    """Check that the client gets nothing of the room."""
    await rooms.aemit(room, "changed")
    await client.expect_nothing(timeout=0.05)


@both
@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (False, "permission_denied"),
        (PermissionDenied("Gone."), "permission_denied"),
        (ObjectDoesNotExist(), "not_found"),
        (ZeroDivisionError(), "handler_error"),
        (asyncio.CancelledError(), "handler_error"),  # of something that the function awaited
    ],
)
async def test_a_connection_that_no_longer_passes_is_taken_out(
    is_async: bool, verdict: Any, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    left: list[int] = []
    verdicts: list[Any] = [True]
    room = declare()
    rule(room, verdicts, is_async)
    room.on_leave(lambda connection, pk: left.append(pk))
    async with guest() as client:
        order = await client.join("orders/5")
        await rooms.arecheck()
        await rooms.aemit("orders/5", "changed")
        await order.expect_event("changed")
        verdicts[0] = verdict
        await rooms.arecheck()
        assert (await order.expect_left(code)).message
        await nothing_more(client)
        await until(lambda: left == [5])
        assert await rooms.acount("orders/5") == 0


async def test_from_a_thread() -> None:
    verdicts: list[Any] = [True]
    rule(declare(), verdicts)
    async with guest() as client:
        order = await client.join("orders/5")
        verdicts[0] = False
        await asyncio.to_thread(rooms.recheck, room="orders/5")
        await order.expect_left("permission_denied")


@pytest.mark.parametrize("error", [OperationalError("gone"), TimeoutError()])
async def test_a_fault_that_passes_is_no_verdict(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    verdicts: list[Any] = [True]
    rule(declare(), verdicts)
    async with guest() as client:
        order = await client.join("orders/5")
        verdicts[0] = error
        with caplog.at_level(logging.ERROR, "django_etp"):
            await rooms.arecheck()
        assert "could not be checked" in caplog.text
        await rooms.aemit("orders/5", "changed")
        await order.expect_event("changed")


@pytest.mark.django_db(transaction=True)
async def test_only_the_named_user_and_room_are_checked() -> None:
    verdicts: list[Any] = [True]
    asked = rule(declare(), verdicts)
    ana, ben = [await User.objects.acreate(username=name) for name in ("ana", "ben")]
    async with guest(user=ana) as first, guest(user=ana) as second, guest(user=ben) as third:
        for client in (first, second, third):
            await client.join("orders/5")
        await third.join("orders/6")
        asked.clear()
        await rooms.arecheck(user=ana)
        assert asked == ["ana"]
        await rooms.arecheck(user=ben.pk, room="orders/6")
        assert asked == ["ana", "ben"]
        await rooms.arecheck(room="orders/5")
        assert sorted(asked[2:]) == ["ana", "ben"]
        await rooms.of("staff").arecheck()
        await rooms.arecheck(room="orders/7")
        assert len(asked) == 4
        verdicts[0] = False
        await rooms.arecheck(user=ana)
        for client in (first, second):
            assert (await client.expect_event("__left")).json()["code"] == "permission_denied"
            await nothing_more(client)
        await third.expect_event("__in orders/5 changed")


@pytest.mark.django_db(transaction=True)
async def test_rooms_of_one_name_in_two_namespaces_have_their_own_rules() -> None:
    verdicts: list[Any] = [True]
    for namespace, answers in (("default", [True]), ("staff", verdicts)):
        rule(declare(namespace=namespace), answers)
    user = await User.objects.acreate(username="ana")
    async with guest(user=user) as first, guest(user=user, namespace="staff") as second:
        here, there = await first.join("orders/5"), await second.join("orders/5")
        verdicts[0] = False
        await user.asave()
        await there.expect_left("permission_denied", timeout=2)
        await rooms.aemit("orders/5", "changed")
        await here.expect_event("changed")


@pytest.mark.django_db(transaction=True)
async def test_a_lost_permission_counts_though_the_user_of_the_connection_still_holds_it() -> None:
    declare(permission="auth.view_user", login_required=True)
    user = await User.objects.acreate(username="ana")
    await user.user_permissions.aadd(await Permission.objects.aget(codename="view_user"))
    async with guest(user=user) as client:
        order = await client.join("orders/5")
        await User.user_permissions.through.objects.all().adelete()  # sends no signal of changed permissions
        await rooms.arecheck(user=user)
        await order.expect_left("permission_denied")
        await nothing_more(client)
        await refused(client, "orders/5", "permission_denied")


@pytest.mark.django_db(transaction=True)
async def test_a_changed_user_is_asked_as_it_is_now() -> None:
    room = declare()
    room.allow(lambda user, pk: user.is_staff)
    user = await User.objects.acreate(username="ana", is_staff=True)
    async with guest(user=await User.objects.aget()) as client:
        order = await client.join("orders/5")
        user.is_staff = False
        await user.asave()
        await order.expect_left("permission_denied", timeout=2)
        await refused(client, "orders/5", "permission_denied")
        user.is_staff = True
        await user.asave()
        await client.join("orders/5")


@pytest.mark.django_db(transaction=True)
async def test_a_user_without_rules_to_check_costs_no_query() -> None:
    declare()
    declare("teams/<int:pk>", login_required=True)
    user = await User.objects.acreate(username="ana")

    @sync_to_async  # to the thread that has the database connection of the test
    def queries() -> int:
        database.force_debug_cursor = True
        number = len(database.queries_log)
        database.queries_log.clear()
        return number

    async with guest(user=user) as client, guest(user=user):
        await client.join("orders/5")
        await queries()
        await rooms.arecheck()
        await rooms.arecheck(user=user)
        assert await queries() == 0
        await client.join("teams/5")
        await queries()
        await rooms.arecheck()
        assert await queries() == 1


async def test_a_join_under_way_is_checked_too() -> None:
    gate, verdicts = asyncio.Event(), [True]
    asked: list[int] = []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        await gate.wait()

    @join.allow
    async def allow(user: Any, pk: int) -> bool:
        asked.append(pk)
        return verdicts[0]

    async with guest() as client:
        await client.send_frame(join_frame("orders/5", 1))
        await until(lambda: asked)
        verdicts[0] = False
        await rooms.arecheck(room="orders/5")
        gate.set()
        assert (await client.expect_event("__err___join")).json()["code"] == "permission_denied"
        await nothing_more(client)


async def test_a_right_that_is_lost_while_the_rule_still_answers_for_the_join() -> None:
    gate, verdicts = asyncio.Event(), [True]
    asked: list[int] = []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None: ...

    @join.allow
    async def allow(user: Any, pk: int) -> bool:
        asked.append(pk)
        verdict = verdicts[0]
        if len(asked) == 1:
            await gate.wait()
        return verdict

    async with guest() as client:
        await client.send_frame(join_frame("orders/5", 1))
        await until(lambda: asked)
        verdicts[0] = False
        await rooms.arecheck()
        gate.set()
        assert (await client.expect_event("__err___join")).json()["code"] == "permission_denied"


async def test_a_check_that_takes_long_goes_on_after_the_call(settings: Any) -> None:
    settings.ETP = {"QUESTION_TIMEOUT": 0.2}
    gate, asked = asyncio.Event(), []
    room = declare()

    @room.allow
    async def allow(user: Any, pk: int) -> bool:
        asked.append(pk)
        if len(asked) > 1:
            await gate.wait()
        return len(asked) == 1

    async with guest() as client:
        order = await client.join("orders/5")
        await rooms.arecheck()
        gate.set()
        await order.expect_left("permission_denied")


async def test_rooms_are_checked_at_intervals(settings: Any) -> None:
    settings.ETP = {"SESSION_CHECK_INTERVAL": 0.05}
    verdicts: list[Any] = [True]
    rule(declare(), verdicts)
    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put(join_frame("orders/5", 1))
        await wire.text()
        verdicts[0] = False
        assert "permission_denied" in await wire.text()
