"""Relays of server processes, and the sends of tests. The relays of a server are in test_relay.py."""

from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import transaction

from django_etp.hub.process import serving_hub
from django_etp.outbox.servers import ServerRelays
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
