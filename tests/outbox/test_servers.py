"""Relays of server processes, and the sends of tests. The relays of a server are in test_relay.py."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from django_etp import Connection, etp_room, rooms
from django_etp.hub.process import serving_hub
from django_etp.outbox.servers import ServerRelays
from tests.support.declared import guest
from tests.support.inprocess import Wire
from tests.support.outbox import keep, stored
from tests.support.rooms import clients, got

pytestmark = pytest.mark.usefixtures("etp_registry")


async def test_no_relay_runs_under_tests() -> None:
    async with Wire():
        relays = ServerRelays()
        relays.start(serving_hub())
        assert relays._relays == []
        await relays.stop()


@pytest.mark.django_db(transaction=True)
async def test_under_tests_an_event_is_sent_at_its_commit() -> None:
    def work() -> None:
        with transaction.atomic():
            keep("one")
            keep("two")
            assert stored() == ["one", "two"]
        assert stored() == []

    async with clients("lobby") as (client,):
        await sync_to_async(work)()
        assert await got(client) == [["one", "two"]]


@pytest.mark.django_db
async def test_under_tests_an_event_is_sent_if_the_callbacks_of_its_transaction_are_run(
    etp_communicator: Any, django_capture_on_commit_callbacks: Any
) -> None:
    def work() -> None:
        with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
            keep("news")

    async with clients("lobby") as (client,):
        await sync_to_async(work)()
        assert await got(client) == [["news"]]
        assert await sync_to_async(stored)() == []


@pytest.mark.django_db(transaction=True)
def test_under_tests_an_event_that_nobody_can_hear_is_removed() -> None:
    with transaction.atomic():
        keep("news")
    assert stored() == []


@pytest.mark.django_db(transaction=True)
async def test_clients_that_joined_a_declared_room_get_durable_events_inside_it_until_they_leave() -> None:
    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None: ...

    def work() -> None:
        with transaction.atomic():
            keep("changed", "orders/5")
            keep("sold", "lobby", "orders/5")

    async with clients("orders/5") as (plain,), guest() as client:
        room = await client.join("orders/5")
        await sync_to_async(work)()
        assert await client.receive_frame() == "__in orders/5 changed||0"
        assert await client.receive_frame() == "__in orders/5 sold||0"
        await rooms.aclear("orders/5")
        await room.expect_left("removed")
        await plain.connection.ajoin("orders/5")
        await sync_to_async(work)()
        assert await got(plain) == [["changed", "sold", "changed", "sold"]]
        await client.expect_nothing(timeout=0.01)
