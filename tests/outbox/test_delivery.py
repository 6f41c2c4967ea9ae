"""Rounds of a relay: events are read, sent, removed, or kept with their errors."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from django_etp.exceptions import IncompleteAnswer
from django_etp.hub.process import serving_hub
from django_etp.outbox import delivery as module
from django_etp.outbox.delivery import Delivery, Round
from django_etp.outbox.models import OutboxEvent
from django_etp.outbox.rows import MAX_ATTEMPTS, pending
from tests.outbox.test_sending import Link
from tests.support.outbox import keep, row, stored
from tests.support.rooms import RoomClient, clients, got

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("etp_registry", "kept")]


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RoomClient]:
    async with clients("lobby game") as (client,):
        hub, link = serving_hub(), Link()
        monkeypatch.setattr(hub, "link", link)
        monkeypatch.setattr(hub.asker, "_link", link)
        yield client
        monkeypatch.undo()


async def deliver(delivery: Delivery) -> Round:
    return await sync_to_async(delivery.deliver)(serving_hub())


async def put(*events: OutboxEvent) -> None:
    await OutboxEvent.objects.abulk_create(events)


async def left() -> list[str]:
    return await sync_to_async(stored)()


def link() -> Any:
    return serving_hub().link


async def test_events_are_sent_in_order_and_removed(client: RoomClient) -> None:
    await sync_to_async(keep)("1", data="x")
    await sync_to_async(keep)("2", "lobby", "game")
    delivery = Delivery("default")
    assert [(await deliver(delivery)).sent for _ in range(3)] == [1, 1, 0]
    assert await got(client) == [["1", "2"]]
    assert await left() == []


async def test_all_events_are_read_however_many_there_are(client: RoomClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_FIRST_ROWS", 2)
    await put(*[row(str(number)) for number in range(20)])
    delivery = Delivery("default")
    while (await deliver(delivery)).has_more:
        pass
    assert await got(client) == [[str(number) for number in range(20)]]


async def test_fewer_large_events_are_read_at_a_time(client: RoomClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_LARGE_PAGE", 1000)
    await put(*[row(str(number), "empty", data="x" * 100) for number in range(40)])
    delivery = Delivery("default")
    await deliver(delivery)
    assert delivery._rows == module._FIRST_ROWS // 4


async def test_an_outage_is_no_failure_of_an_event(client: RoomClient) -> None:
    await put(row("1"), row("2", "game"))
    link().refuses = lambda frame: True
    delivery = Delivery("default")
    for _ in range(2 * MAX_ATTEMPTS):
        assert "refused" in (await deliver(delivery)).problem
    assert await OutboxEvent.objects.filter(attempts=0, failed_at=None).acount() == 2
    link().refuses = lambda frame: False
    assert (await deliver(delivery)).sent == 2
    assert await got(client) == [["1", "2"]]


async def test_a_refused_event_holds_up_its_sender_in_its_room_alone(client: RoomClient) -> None:
    link().refuses = lambda frame: frame.text.startswith("bad")
    await put(row("bad"), row("mine"), row("others", sender="t"), row("elsewhere", "game"))
    delivery = Delivery("default")
    for _ in range(10):
        await deliver(delivery)
    assert await left() == ["bad", "mine"]
    bad = await OutboxEvent.objects.aget(event="bad")
    assert (bad.attempts, bad.error) == (1, "refused")
    assert (await deliver(delivery)).retry_at == bad.retry_at
    link().refuses = lambda frame: False
    await OutboxEvent.objects.filter(event="bad").aupdate(retry_at=timezone.now())
    assert (await deliver(delivery)).has_more
    await deliver(delivery)
    assert await left() == []
    sent = [frame.text for _, frame in link().published if frame.text]
    assert sent[-2:] == ["bad||0", "mine||0"]


async def test_one_refused_event_among_many_is_found(client: RoomClient) -> None:
    link().refuses = lambda frame: frame.text == "bad||0"
    await put(*[row(str(number)) for number in range(30)], row("bad"), *[row(str(number)) for number in range(30, 60)])
    delivery = Delivery("default")
    while (await deliver(delivery)).has_more:
        pass
    assert (await left())[0] == "bad"
    assert (await OutboxEvent.objects.aget(event="bad")).attempts == 1
    assert await OutboxEvent.objects.exclude(event="bad").filter(attempts__gt=0).acount() == 0


async def test_an_event_is_given_up_after_20_failures_and_then_holds_up_nobody(
    client: RoomClient, caplog: pytest.LogCaptureFixture
) -> None:
    link().refuses = lambda frame: frame.text == "bad||0"
    await put(row("bad", attempts=MAX_ATTEMPTS - 1, retry_at=timezone.now()), row("next"))
    delivery = Delivery("default")
    await deliver(delivery)
    assert "'bad'" in caplog.text
    assert "20 times and is kept: refused. See manage.py etp_outbox" in caplog.text
    await deliver(delivery)
    assert await left() == ["bad"]
    assert (await OutboxEvent.objects.aget()).failed_at is not None


async def test_what_waits_behind_a_failed_event_hides_no_others(client: RoomClient, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_FIRST_ROWS", 2)
    later = timezone.now() + timedelta(hours=1)
    await put(row("bad", attempts=1, retry_at=later), *[row(str(number)) for number in range(50)], row("x", "game"))
    assert (await deliver(Delivery("default"))).sent == 1
    assert await got(client) == [["x"]]


async def test_events_of_one_round_come_from_one_query(client: RoomClient, monkeypatch: Any) -> None:
    """A transaction may commit between two queries, and the next one of its sender, too."""
    reads: list[int] = []

    def read(using: str, limit: int, *args: Any) -> list[OutboxEvent]:
        rows = pending(using, limit, *args)
        reads.append(len(rows))
        return rows

    monkeypatch.setattr(module, "pending", read)
    await put(*[row(str(number)) for number in range(300)])
    assert (await deliver(Delivery("default"))).sent == 100
    assert reads == [100]


async def test_processes_that_do_not_reply_are_waited_for_no_longer_than_10_s(
    client: RoomClient, monkeypatch: Any
) -> None:
    await put(row("1"))
    link().replies = [IncompleteAnswer("1 of 2 processes", answer={}) for _ in range(20)]
    delivery = Delivery("default")
    assert (await deliver(delivery)).problem == "1 of 2 processes"
    assert (await deliver(delivery)).problem == "1 of 2 processes"
    assert delivery._uncertain_since is not None
    delivery._uncertain_since -= module._PATIENCE
    assert (await deliver(delivery)).sent == 1
    await put(row("2"), row("3", "game"))
    assert (await deliver(delivery)).sent == 2  # at once
    link().replies = []
    await put(row("4"))
    assert (await deliver(delivery)).sent == 1  # now all have replied
    link().replies = [IncompleteAnswer("1 of 2 processes", answer={}) for _ in range(20)]
    await put(row("5"))
    assert (await deliver(delivery)).sent == 0
    assert await got(client) == [["1", "2", "3", "4", "5"]]
