"""Joining and leaving declared rooms, and events inside of them, over the wire."""

import asyncio
import json
import threading
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.core.exceptions import ObjectDoesNotExist, PermissionDenied
from django.http import Http404

from django_etp import Connection, Event, EventFailed, History, etp_room, on_connect, rooms
from django_etp.events import access
from django_etp.testing import EtpCommunicator
from tests.support.declared import guest, join_frame, refused
from tests.support.hooks import both
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")


def declare(function: Any = None, is_async: bool = True, pattern: str = "orders/<int:pk>", **options: Any) -> Any:
    """Declare a room whose join handler is this function of the parameters."""
    function = function or (lambda pk: {"pk": pk})

    async def coroutine_function(connection: Connection, **parameters: Any) -> Any:
        return function(**parameters)

    def plain_function(connection: Connection, **parameters: Any) -> Any:
        return function(**parameters)

    return etp_room(pattern, **options)(coroutine_function if is_async else plain_function)


def fail(error: BaseException) -> Any:
    def function(**parameters: Any) -> None:
        raise error

    return function


# Joining


@both
async def test_a_join_is_answered_with_the_state(is_async: bool) -> None:
    declare(is_async=is_async)
    async with guest() as client:
        await client.send_frame('__join||7||{"room": "orders/5", "since": "x"}')
        assert await client.receive_frame() == '__ack___join||7||{"state":{"pk":5}}'


@pytest.mark.parametrize("state", [None, "text", 5, [1], {"a": "ü||"}])
async def test_any_json_is_a_state(state: Any) -> None:
    declare(lambda pk: state)
    async with guest() as client:
        assert (await client.join("orders/5")).state == state


async def test_a_join_without_an_ack_is_a_join() -> None:
    room = declare()
    async with guest() as client:
        await client.send_frame(join_frame("orders/5", 0))
        await until(lambda: rooms_of(client) == ["orders/5"])
        await rooms.aemit(room(pk=5), "changed")
        assert await client.receive_frame() == "__in orders/5 changed||0"


def rooms_of(client: EtpCommunicator) -> list[str]:
    from django_etp.server.serving import current_serving

    membership = current_serving().hub.membership
    return [room for member in membership.all() for room in membership.rooms_of(member.id)]


@pytest.mark.parametrize("subprotocols", [[], ["etp.ext.v1"]])
async def test_to_a_client_without_the_subprotocol_the_events_are_unknown_ones(subprotocols: list[str]) -> None:
    declare()
    wire = await Wire(subprotocols=subprotocols).open()
    if subprotocols:
        await wire.text()
    for number, name in enumerate(("__join", "__leave", "__in orders/5 say"), 1):
        wire.put(f'{name}||{number}||{{"room": "orders/5"}}')
        text = await wire.text()
        assert text.startswith(f"__err_{name}||{number}" if subprotocols else f"__ack_{name}||{number}")
        assert not subprotocols or "unknown_event" in text
    await wire.leave()


@pytest.mark.parametrize(
    ("offered", "selected"),
    [
        (["etp.ext.v2"], "etp.ext.v2"),
        (["etp.ext.v1", "etp.ext.v2"], "etp.ext.v2"),
        (["etp.ext.v1"], "etp.ext.v1"),
        (["x", "etp.ext.v3"], None),
    ],
)
async def test_the_later_of_the_extensions_is_selected(offered: list[str], selected: str | None) -> None:
    async with EtpCommunicator(subprotocols=offered) as client:
        assert client.subprotocol == selected


@pytest.mark.parametrize("data", ["", "orders/5", "{}", "[]", '{"room": 5}', '{"room": null}', "NaN"])
@pytest.mark.parametrize("name", ["__join", "__leave"])
async def test_malformed_data_is_an_invalid_payload(name: str, data: str) -> None:
    declare()
    async with guest() as client:
        await client.send_frame(f"{name}||1||{data}")
        failure = await client.expect_event(f"__err_{name}")
        assert failure.json()["code"] == "invalid_payload"


@pytest.mark.parametrize(
    "name",
    [
        *("", "orders/", "orders/x", "my orders/5", "orders/5 ", "orders|5", "orders%2F5", "x" * 10_000, "teams/5"),
        *("__user.1", "orders/05", "\ud800", "orders/5\n", "secrets/5"),
    ],
)
async def test_a_name_that_no_pattern_matches_is_not_found(name: str) -> None:
    declare()
    declare(pattern="secrets/<int:pk>", namespace="staff")
    async with guest() as client:
        await client.send_frame(join_frame(name, 1))
        assert (await client.expect_event("__err___join")).json()["code"] == "not_found"


async def test_without_any_declared_room_no_room_is_found() -> None:
    async with guest() as client:
        await refused(client, "orders/5", "not_found")


# Who may enter


@pytest.mark.django_db(transaction=True)
async def test_the_order_is_login_permission_allow_handler() -> None:
    asked: list[str] = []
    room = declare(lambda pk: asked.append("handler"), login_required=True, permission="auth.view_user")

    @room.allow
    def allow(user: Any, pk: int) -> bool:
        asked.append("allow")
        return pk == 5

    user = await User.objects.acreate(username="ana")
    async with guest() as client:
        assert "logged in" in (await refused(client, "orders/5", "permission_denied")).message
    async with guest(user=user) as client:
        assert "permission" in (await refused(client, "orders/5", "permission_denied")).message
        assert asked == []
        await user.user_permissions.aadd(await Permission.objects.aget(codename="view_user"))
        await refused(client, "orders/6", "permission_denied")
        assert asked == ["allow"]
        await client.join("orders/5")
        assert asked == ["allow", "allow", "handler"]


@both
@pytest.mark.parametrize(
    ("result", "code"),
    [
        (True, None),
        (False, "permission_denied"),
        (None, "permission_denied"),
        (PermissionDenied("Not you."), "permission_denied"),
        (ObjectDoesNotExist(), "not_found"),
        (Http404(), "not_found"),
        (ZeroDivisionError(), "handler_error"),
        (EventFailed("full", "Come back later."), "full"),
    ],
)
async def test_what_allow_says_counts(is_async: bool, result: Any, code: str | None) -> None:
    told = errors()
    room = declare()

    def allow(user: Any, pk: int) -> Any:
        assert isinstance(user, AnonymousUser)
        assert pk == 5
        if isinstance(result, Exception):
            raise result
        return result

    async def allow_async(user: Any, pk: int) -> Any:
        return allow(user, pk)

    room.allow(allow_async if is_async else allow)
    async with guest() as client:
        if code is None:
            await client.join("orders/5")
        else:
            failure = await refused(client, "orders/5", code)
            assert failure.message in ("Not you.", "Come back later.") or "Error" not in failure.message
            assert len(told) == 1
        await rooms.aemit("orders/5", "changed")
        assert await rooms.acount("orders/5") == (code is None)


@both
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (PermissionDenied(), "permission_denied"),
        (User.DoesNotExist(), "not_found"),
        (Http404("x"), "not_found"),
        (ZeroDivisionError("secret"), "handler_error"),
        (EventFailed("full"), "full"),
    ],
)
async def test_what_the_handler_raises_refuses_the_join(is_async: bool, error: Exception, code: str) -> None:
    left: list[int] = []
    room = declare(fail(error), is_async)
    room.on_leave(lambda connection, pk: left.append(pk))
    async with guest() as client:
        assert "secret" not in (await refused(client, "orders/5", code)).message
        await rooms.aemit("orders/5", "changed")
        await client.expect_nothing()
        assert rooms_of(client) == []
    assert left == []


@both
@pytest.mark.parametrize("state", [object(), {"a": float("nan")}, {1, 2}, b"x", {(1, 2): 3}])
async def test_a_state_that_json_cannot_hold_is_an_error_of_the_handler(is_async: bool, state: object) -> None:
    told = errors()
    declare(lambda pk: state, is_async)
    async with guest() as client:
        await refused(client, "orders/5", "handler_error")
        assert rooms_of(client) == []
    assert "got dict: " in str(told[0])


@both
@pytest.mark.parametrize("hangs", ["allow", "handler"])
async def test_a_function_that_hangs_is_an_error_of_the_handler(
    is_async: bool, hangs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = errors()
    monkeypatch.setattr(access, "LIMIT", 0.05)
    over = threading.Event()

    async def hang_async(*args: Any, **parameters: Any) -> Any:
        await asyncio.Event().wait()

    def hang(*args: Any, **parameters: Any) -> Any:
        over.wait(10)

    function = hang_async if is_async else hang
    room = etp_room("orders/<int:pk>")(function) if hangs == "handler" else declare()
    if hangs == "allow":
        room.allow(function)
    wire = await Wire(subprotocols=["etp.ext.v2"]).open()
    assert (await wire.text()).startswith("__hello")
    wire.put(join_frame("orders/5", 1))
    assert json.loads((await wire.text()).removeprefix("__err___join||1||"))["code"] == "handler_error"
    assert not rooms_of_hub("orders/5")
    over.set()
    await wire.leave()
    assert "hang" in str(told[0])
    assert "took longer than 0.05 s" in str(told[0])


@pytest.mark.parametrize("waits", ["allow", "handler"])
async def test_functions_of_one_client_that_wait_in_threads_leave_some_to_others(waits: str) -> None:
    over, begun = threading.Event(), []

    def wait(who: Any, pk: int) -> bool:
        begun.append(pk)
        return not pk or over.wait(10)

    room = etp_room("orders/<int:pk>")(wait if waits == "handler" else lambda connection, pk: None)
    room.allow(wait if waits == "allow" else lambda user, pk: True)
    async with Wire(subprotocols=["etp.ext.v2"]) as busy, Wire(subprotocols=["etp.ext.v2"]) as other:
        assert (await busy.text()).startswith("__hello")
        assert (await other.text()).startswith("__hello")
        for number in range(1, 91):
            busy.put(join_frame(f"orders/{number}", number))
        await until(lambda: begun)
        other.put(join_frame("orders/0", 1))
        assert (await other.text()).startswith("__ack___join||1||")
        over.set()
        for _ in range(90):
            assert (await busy.text()).startswith("__ack___join||")


def test_functions_have_ten_seconds() -> None:
    assert access.LIMIT == 10.0


async def test_a_connection_is_in_a_bounded_number_of_rooms(settings: Any) -> None:
    settings.ETP = {"MAX_ROOMS": 3}
    declare()
    on_connect(lambda connection: connection.join("lobby"))
    async with guest() as client:
        for number in (1, 2, 1):
            await client.join(f"orders/{number}")
        await refused(client, "orders/3", "too_many_rooms")
        assert sorted(rooms_of(client)) == ["lobby", "orders/1", "orders/2"]


async def test_of_1001_joins_one_is_refused() -> None:
    declare()
    async with guest() as client:
        for number in range(1, 1002):
            await client.send_frame(join_frame(f"orders/{number}", number))
        refusals = []
        for _ in range(1001):
            answer = await client.expect_event()
            if answer.is_failure:
                refusals.append((answer.ack_id, answer.json()["code"]))
        [(refused_join, code)] = refusals  # any of them: events are handled side by side
        assert code == "too_many_rooms"
        assert set(rooms_of(client)) == {f"orders/{number}" for number in range(1, 1002) if number != refused_join}
        await rooms.aemit("orders/1", "changed")
        assert await client.receive_frame() == "__in orders/1 changed||0"


async def test_joins_under_way_count(settings: Any) -> None:
    settings.ETP = {"MAX_ROOMS": 10}
    gate = asyncio.Event()

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        await gate.wait()

    async with guest() as client:
        for number in range(1, 13):
            await client.send_frame(join_frame(f"orders/{number}", number))
        assert [(await client.expect_event("__err___join")).json()["code"] for _ in (1, 2)] == ["too_many_rooms"] * 2
        gate.set()
        for _ in range(10):
            await client.expect_event("__ack___join")
        assert len(rooms_of(client)) == 10


# Members


async def test_members_get_the_events_of_the_room_inside_it_and_others_as_they_are() -> None:
    room = declare()
    on_connect(lambda connection: connection.join("orders/5") if connection.scope["path"] == "/plain/" else None)
    async with guest() as ana, guest(path="/plain/") as ben:
        order = await ana.join("orders/5")
        await rooms.aemit(room(pk=5), "changed", {"status": "paid"})
        assert await ana.receive_frame() == '__in orders/5 changed||0||{"status":"paid"}'
        assert await ben.receive_frame() == 'changed||0||{"status":"paid"}'
        await rooms.abroadcast("all")
        assert await ana.receive_frame() == await ben.receive_frame() == "all||0"
        asking = asyncio.create_task(rooms.aemit_with_ack("orders/5", "still there?"))
        await order.answer(await order.expect_event("still there?"), "yes")
        await ben.answer(await ben.expect_event("still there?"), "no")
        assert sorted(reply.event.data for reply in await asking if reply.event) == ["no", "yes"]


async def test_an_event_for_several_rooms_comes_once() -> None:
    declare()
    on_connect(lambda connection: connection.join("lobby"))
    async with guest() as client:
        await client.join("orders/5")
        await rooms.aemit(["lobby", "orders/5", "orders/6"], "both")
        assert await client.receive_frame() == "__in orders/5 both||0"
        await rooms.aemit(["lobby", "orders/6"], "lobby alone")
        assert await client.receive_frame() == "lobby alone||0"
        await client.expect_nothing(timeout=0.02)


async def test_what_is_sent_while_the_handler_runs_follows_the_answer() -> None:
    gate, counts = asyncio.Event(), []
    on_connect(lambda connection: connection.join("lobby"))

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        await rooms.aemit("orders/5", "first")
        await rooms.aemit(["orders/5", "orders/6"], "second")
        await rooms.aemit(["orders/5", "lobby"], "to the lobby as well")
        counts.append((await rooms.acount("orders/5"), await rooms.anames(), sorted(connection.rooms)))
        await gate.wait()

    async with guest() as client:
        await client.send_frame(join_frame("orders/5", 1))
        assert await client.receive_frame() == "to the lobby as well||0"
        await until(lambda: counts)
        gate.set()
        frames = [await client.receive_frame() for _ in range(3)]
        assert frames == ['__ack___join||1||{"state":null}', "__in orders/5 first||0", "__in orders/5 second||0"]
        assert counts == [(0, ["lobby"], ["lobby"])]
        assert await rooms.acount("orders/5") == 1


async def test_too_many_events_while_the_handler_runs_end_the_join(settings: Any) -> None:
    settings.ETP = {"MAX_OUTBOX": 1000}
    gate = asyncio.Event()

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        await rooms.aemit("orders/5", "large", "x" * 1001)
        await gate.wait()

    async with guest() as client:
        await client.send_frame(join_frame("orders/5", 1))
        await until(lambda: rooms_of(client) == [])
        gate.set()
        assert (await client.expect_event("__err___join")).json()["code"] == "handler_error"
        await rooms.aemit("orders/5", "changed")
        await client.expect_nothing()


async def test_what_the_handler_of_a_refused_join_sends_does_not_arrive() -> None:
    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        await rooms.aemit("orders/5", "secret")
        raise PermissionDenied

    async with guest() as client:
        await refused(client, "orders/5", "permission_denied")
        await client.expect_nothing()


async def test_the_application_may_put_a_connection_in_without_any_check() -> None:
    room = declare(fail(PermissionDenied()), login_required=True)
    on_connect(lambda connection: connection.join("orders/5"))
    async with guest() as client:
        await rooms.aemit(room(pk=5), "changed")
        assert await client.receive_frame() == "changed||0"
        await refused(client, "orders/5", "permission_denied")
        await rooms.aemit(room(pk=5), "changed")
        assert await client.receive_frame() == "changed||0"


async def test_a_second_join_is_answered_anew_and_is_the_same_membership() -> None:
    left: list[int] = []
    numbers = iter(range(10))
    room = declare(lambda pk: next(numbers))
    room.on_leave(lambda connection, pk: left.append(pk))
    async with guest() as client:
        assert [(await client.join("orders/5")).state for _ in range(3)] == [0, 1, 2]
        await rooms.aemit("orders/5", "changed")
        assert await client.receive_frame() == "__in orders/5 changed||0"
        await client.expect_nothing(timeout=0.02)
    assert left == [5]


async def test_joins_while_joining_are_answered_one_after_the_other() -> None:
    gate, running, left = asyncio.Event(), [], []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> int:
        running.append(1)
        assert sum(running) == 1
        await gate.wait()
        running.append(-1)
        return len(running)

    join.on_leave(lambda connection, pk: left.append(pk))
    async with guest() as client:
        for number in (1, 2, 3):
            await client.send_frame(join_frame("orders/5", number))
        await until(lambda: running)
        gate.set()
        answers = [await client.expect_event("__ack___join") for _ in range(3)]
        assert [(answer.ack_id, answer.json()["state"]) for answer in answers] == [(1, 2), (2, 4), (3, 6)]
    assert left == [5]


async def test_a_second_join_that_is_refused_ends_the_membership() -> None:
    left: list[int] = []
    room = declare()
    room.on_leave(lambda connection, pk: left.append(pk))
    allowed = [True]
    room.allow(lambda user, pk: allowed[0])
    async with guest() as client:
        order = await client.join("orders/5")
        allowed[0] = False
        await refused(client, "orders/5", "permission_denied")
        await order.expect_left("permission_denied")
        await rooms.aemit("orders/5", "changed")
        await client.expect_nothing()
        await until(lambda: left == [5])


# Leaving


@both
async def test_on_leave_runs_once_whatever_ends_the_membership(is_async: bool) -> None:
    left: list[tuple[str, int]] = []
    room = declare()

    def gone(connection: Connection, pk: int) -> None:
        left.append((connection.id, pk))

    async def gone_async(connection: Connection, pk: int) -> None:
        gone(connection, pk)

    room.on_leave(gone_async if is_async else gone)
    async with guest() as client:
        order = await client.join("orders/1")
        await order.leave()
        await order.leave()
        await rooms.aemit("orders/1", "changed")
        await client.expect_nothing(timeout=0.02)
        await client.join("orders/1")
        (connection,) = await rooms.amembers("orders/1")
        await rooms.aleave(connection.id, "orders/1")
        await order.expect_left("removed")
        second = await client.join("orders/2")
        await rooms.aclear("orders/2")
        await second.expect_left("removed")
        await rooms.aemit("orders/2", "changed")
        await client.expect_nothing(timeout=0.02)
        await client.join("orders/3")
    assert sorted(left) == [(connection.id, pk) for pk in (1, 1, 2, 3)]


async def test_an_error_in_on_leave_is_reported() -> None:
    told = errors()
    room = declare()
    room.on_leave(lambda connection, pk: 1 / 0)
    async with guest() as client:
        await (await client.join("orders/5")).leave()
        await until(lambda: told)
    assert isinstance(told[0], ZeroDivisionError)


async def test_an_error_in_on_leave_is_reported_once_however_often_a_client_leaves() -> None:
    told = errors()
    calls: list[int] = []
    room = declare()

    @room.on_leave
    async def gone(connection: Connection, pk: int) -> None:
        calls.append(pk)
        raise ZeroDivisionError

    async with guest() as client:
        for _ in range(3):
            await (await client.join("orders/5")).leave()
        await until(lambda: len(calls) == 3)
    assert [type(error) for error in told] == [ZeroDivisionError]


@pytest.mark.parametrize("name", ["orders/5", "nix", "lobby", ""])
async def test_a_needless_leave_is_answered_empty(name: str) -> None:
    declare()
    on_connect(lambda connection: connection.join("lobby"))
    async with guest() as client:
        await client.send_frame(f'__leave||4||{{"room": "{name}"}}')
        assert await client.receive_frame() == "__ack___leave||4"
        assert rooms_of(client) == ["lobby"]


async def test_leaving_while_joining_ends_the_join() -> None:
    gate, left = asyncio.Event(), []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        await rooms.aemit("orders/5", "held")
        await gate.wait()

    join.on_leave(lambda connection, pk: left.append(pk))
    async with guest() as client:
        await client.send_frame(join_frame("orders/5", 1))
        await until(lambda: rooms_of_hub("orders/5"))
        await client.send_frame('__leave||2||{"room": "orders/5"}')
        assert await client.receive_frame() == "__ack___leave||2"
        gate.set()
        assert (await client.expect_event("__err___join")).json()["code"] == "left"
        assert not rooms_of_hub("orders/5")
        await until(lambda: left == [5])
        await rooms.aemit("orders/5", "changed")
        await client.expect_nothing()


def rooms_of_hub(room: str) -> Any:
    from django_etp.server.serving import current_serving

    return current_serving().hub.membership.room(("default", room))


async def test_a_join_after_a_leave_waits_for_on_leave() -> None:
    done: list[str] = []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        done.append("joins")
        await asyncio.sleep(0)
        done.append("joined")

    @join.on_leave
    async def gone(connection: Connection, pk: int) -> None:
        done.append("leaves")
        await asyncio.sleep(0)
        done.append("left")

    async with guest() as client:
        for number in range(1, 7, 2):
            await client.send_frame(join_frame("orders/5", number))
            await client.send_frame(f'__leave||{number + 1}||{{"room": "orders/5"}}')
        await client.send_frame(join_frame("orders/5", 7))
        while (await client.expect_event()).ack_id != 7:
            pass
    pairs = [tuple(done[each : each + 2]) for each in range(0, len(done), 2)]
    assert set(pairs) == {("joins", "joined"), ("leaves", "left")}
    assert [pair[0] for pair in pairs] == ["joins", "leaves"] * (len(pairs) // 2)


async def test_a_client_that_vanishes_while_joining_leaves_nothing() -> None:
    gate, left = asyncio.Event(), []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None:
        await gate.wait()

    join.on_leave(lambda connection, pk: left.append(pk))
    wire = await Wire(subprotocols=["etp.ext.v2"]).open()
    wire.put(join_frame("orders/5", 1))
    await until(lambda: rooms_of_hub("orders/5"))
    wire.vanish()
    await until(lambda: not rooms_of_hub("orders/5"))
    gate.set()
    await wire.ended()
    await until(lambda: left == [5])


# Inside


@both
async def test_an_event_inside_a_room_has_its_handler(is_async: bool) -> None:
    room = declare()
    threads: list[bool] = []

    def say(connection: Connection, event: Event, pk: int) -> Any:
        threads.append(threading.current_thread() is threading.main_thread())
        return [event.name, event.data, event.ack_id, pk]

    async def say_async(connection: Connection, event: Event, pk: int) -> Any:
        return say(connection, event, pk)

    room.event("say it")(say_async if is_async else say)
    async with guest() as client:
        await client.join("orders/5")
        await client.send_frame("__in orders/5 say it||7||hello")
        assert await client.receive_frame() == '__ack___in orders/5 say it||7||["say it","hello",7,5]'
    assert is_async in threads


async def test_an_event_inside_a_room_may_go_to_the_others() -> None:
    room = declare()

    @room.event("say")
    async def say(connection: Connection, event: Event, pk: int) -> None:
        await rooms.aemit(room(pk=pk), "said", event.data, exclude=[connection])

    async with guest() as ana, guest() as ben:
        mine, other = await ana.join("orders/5"), await ben.join("orders/5")
        await mine.emit("say", "hello")
        assert (await other.expect_event("said")).data == "hello"
        await ana.expect_nothing(timeout=0.02)


async def test_an_event_for_a_room_that_one_is_not_in_is_refused() -> None:
    called: list[int] = []
    room = declare()
    room.event("say")(lambda connection, event, pk: called.append(pk))
    on_connect(lambda connection: connection.join("orders/6"))
    async with guest() as client:
        order = await client.join("orders/7")
        await order.leave()
        for number, name in enumerate(["orders/5", "orders/6", "orders/7", "nix", "orders/07"], 1):
            await client.send_frame(f"__in {name} say||{number}||x")
            failure = await client.expect_event(f"__err___in {name} say")
            assert failure.json()["code"] == "permission_denied"
    assert called == []


@pytest.mark.parametrize("name", ["__in orders/5 nix", "__in orders/5 ", "__in orders/5", "__in", "__in  say"])
async def test_an_event_inside_a_room_without_a_handler_is_unknown(name: str) -> None:
    declare()
    async with guest() as client:
        await client.join("orders/5")
        await client.send_frame(f"{name}||1")
        assert json.loads((await client.expect_event(f"__err_{name}")).data)["code"] == "unknown_event"


@pytest.mark.parametrize("name", ["__join", "__leave", "__history"])
@pytest.mark.parametrize("data", ["[]", "{}"])
async def test_events_about_a_room_are_none_inside_it(name: str, data: str) -> None:
    declare(history=History())
    async with guest() as client:
        await client.join("orders/5")
        await client.send_frame(f"__in orders/5 {name}||1||{data}")
        assert (await client.expect_event(f"__err___in orders/5 {name}")).json()["code"] == "unknown_event"
        assert await rooms.acount("orders/5") == 1


@pytest.mark.django_db(transaction=True)
async def test_data_that_a_join_changes_is_saved_before_the_answer() -> None:
    from django.contrib.sessions.backends.db import SessionStore

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> str:
        connection.data["pk"] = pk
        return connection.id

    session = SessionStore()
    await session.acreate()
    async with guest(session=session) as client:
        id = (await client.join("orders/5")).state
        assert (await SessionStore(session.session_key).aget("etp"))[id] == {"pk": 5}
