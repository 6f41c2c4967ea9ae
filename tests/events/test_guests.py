"""One connection in one declared room; what is seen over the wire is in test_joins.py."""

import gc
import weakref
from typing import Any

import pytest

from django_etp import Connection, etp_room, rooms
from django_etp.events import guests
from django_etp.server.serving import current_serving
from tests.support.declared import guest

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_nothing_is_left_of_a_membership() -> None:
    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None: ...

    join.on_leave(lambda connection, pk: None)
    async with guest() as client:
        await client.join("orders/5")
        (member,) = current_serving().hub.membership.guests.all()
        seen = weakref.ref(member._lock)  # type: ignore[attr-defined]
        await (await client.join("orders/6")).leave()
        await rooms.aclear("orders/5")
        id = member.id
        del member
        assert current_serving().hub.membership.guests.by_room == {}
    gc.collect()
    assert seen() is None
    assert current_serving().hub.membership.guests.all() == []
    assert [key for key in [*guests._locks, *guests._leaving] if key[0] == id] == []


async def test_on_leave_has_ended_when_the_connection_has() -> None:
    left: list[Any] = []

    @etp_room("orders/<int:pk>")
    async def join(connection: Connection, pk: int) -> None: ...

    @join.on_leave
    def gone(connection: Connection, pk: int) -> None:
        left.append((pk, sorted(connection.rooms)))

    async with guest() as client:
        await client.join("orders/5")
        await client.join("orders/6")
    assert sorted(left) == [(5, ["orders/5", "orders/6"]), (6, ["orders/5", "orders/6"])]
