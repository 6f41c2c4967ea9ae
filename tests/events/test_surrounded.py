"""Events of declared rooms inside of middleware. test_middleware.py has other events."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied

from django_etp import Connection, Event, EventFailed, current_room, etp_room, handler_name, rooms
from tests.support.declared import guest, refused
from tests.support.hooks import both
from tests.support.middleware import seen, use

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture(autouse=True)
def _seen() -> None:
    seen.clear()


async def refuse(connection: Connection, event: Event, handle: Any) -> Any:
    raise EventFailed("closed", "At night.")


async def named(connection: Connection, event: Event, handle: Any) -> Any:
    result = await handle(connection, event)
    seen.append((event.name, handler_name(), current_room(), result))
    return result


async def swallow(connection: Connection, event: Event, handle: Any) -> str:
    await handle(connection, event)
    return "swallowed"


async def answer_at_once(connection: Connection, event: Event, handle: Any) -> dict[str, int]:
    return {"instead": 1}


def declare() -> Any:
    @etp_room("orders/<int:pk>")
    def order_room(connection: Connection, pk: int) -> dict[str, int]:
        return {"pk": pk}

    return order_room


@both
async def test_events_of_declared_rooms_have_a_bounded_name(is_async: bool, settings: Any) -> None:
    use(settings, __name__, "named")
    order_room = declare()

    async def coroutine_function(connection: Connection, event: Event, pk: int) -> Any:
        return {"said": event.data}

    def plain_function(connection: Connection, event: Event, pk: int) -> Any:
        return {"said": event.data}

    order_room.event("say")(coroutine_function if is_async else plain_function)
    async with guest() as client:
        assert (await client.join("orders/5")).state == {"pk": 5}
        await client.send_frame("__in orders/5 say||8||hi")
        assert await client.receive_frame() == '__ack___in orders/5 say||8||{"said":"hi"}'
        await client.send_frame('__leave||9||{"room":"orders/5"}')
        assert await client.receive_frame() == "__ack___leave||9"
    assert seen == [
        ("__join", "orders/<int:pk> __join", "orders/5", {"pk": 5}),
        ("say", "orders/<int:pk> say", "orders/5", {"said": "hi"}),
        ("__leave", "orders/<int:pk> __leave", "orders/5", None),
    ]


async def fails(connection: Connection, event: Event, handle: Any) -> Any:
    try:
        return await handle(connection, event)
    except EventFailed as error:
        seen.append((event.name, handler_name(), error.code))
        raise


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ("__in orders/5 say||1", ("say", None, "permission_denied")),
        ("__in orders/5 open||1", ("open", "orders/<int:pk> open", "permission_denied")),
        ("__in made-up say||1", ("say", None, "permission_denied")),
        ('__join||1||{"room":"made-up"}', ("__join", None, "not_found")),
        ("__join||1||{}", ("__join", None, "invalid_payload")),
    ],
)
async def test_refused_events_of_rooms_pass_through_and_clients_make_up_no_names(
    frame: str, expected: tuple[str, str | None, str], settings: Any
) -> None:
    use(settings, __name__, "fails")
    declare().event("open")(lambda connection, event, pk: None)
    async with guest() as client:
        await client.send_frame(frame)
        assert (await client.receive_frame()).startswith(f"__err_{frame.split('||')[0]}||1||")
    assert seen == [expected]


async def test_one_that_refuses_a_join_keeps_the_client_out(settings: Any) -> None:
    use(settings, __name__, "refuse")
    declare()
    async with guest() as client:
        await refused(client, "orders/5", "closed")
        assert await rooms.acount("orders/5") == 0


async def test_a_join_that_one_answers_without_the_handler_is_no_membership(settings: Any) -> None:
    use(settings, __name__, "answer_at_once")
    declare()
    async with guest() as client:
        await refused(client, "orders/5", "permission_denied")
        assert await rooms.acount("orders/5") == 0


async def test_one_may_change_the_state_of_a_join(settings: Any) -> None:
    use(settings, __name__, "swallow")
    declare()
    async with guest() as client:
        assert (await client.join("orders/5")).state == "swallowed"


async def swallow_refusals(connection: Connection, event: Event, handle: Any) -> Any:
    try:
        return await handle(connection, event)
    except PermissionDenied:
        return {"instead": 1}


async def test_one_that_swallows_a_refusal_lets_nobody_in_or_stay(settings: Any) -> None:
    use(settings, __name__, "swallow_refusals")
    order_room, may_enter = declare(), [True, False, False]
    order_room.allow(lambda user, pk: may_enter.pop(0))
    async with guest() as client:
        assert (await client.join("orders/5")).state == {"pk": 5}
        await refused(client, "orders/5", "permission_denied")
        await refused(client, "orders/6", "permission_denied")
        assert await rooms.anames() == []


async def slow(connection: Connection, event: Event, handle: Any) -> Any:
    state = await handle(connection, event)
    await rooms.aleave("orders/5", user=connection.user)
    return state


async def test_a_connection_that_was_taken_out_meanwhile_is_not_in(settings: Any) -> None:
    use(settings, __name__, "slow")
    declare()
    async with guest(user=User(pk=7)) as client:
        await refused(client, "orders/5", "removed")
        assert await rooms.anames() == []
