"""The received events of a client that wait for their handlers."""

import asyncio

import pytest

from django_etp.client import event_queue as module
from django_etp.client.event_queue import EventQueue
from django_etp.exceptions import TooManyEvents
from django_etp.protocol import Event
from django_etp.protocol.acks import PendingAcks

EVENTS = [Event(str(number)) for number in range(10)]


class Handling:
    """A queue, and the handlers that it has started."""

    def __init__(self, *, max_running: int, max_queued: int) -> None:
        self.started: list[Event] = []
        self.acks = PendingAcks()
        self.queue = EventQueue(self.started.append, self.acks, max_running=max_running, max_queued=max_queued)


async def test_as_many_handlers_run_as_may_and_the_others_follow_in_order() -> None:
    handling = Handling(max_running=2, max_queued=10)
    for event in EVENTS[:5]:
        await handling.queue.put(event)
    assert handling.started == EVENTS[:2]
    handling.queue.handled()
    assert handling.started == EVENTS[:3]
    handling.queue.handled()
    handling.queue.handled()
    assert handling.started == EVENTS[:5]


async def test_an_event_past_the_queue_waits_until_a_handler_has_ended() -> None:
    handling = Handling(max_running=1, max_queued=1)
    for event in EVENTS[:2]:
        await handling.queue.put(event)
    putting = asyncio.create_task(handling.queue.put(EVENTS[2]))
    await asyncio.sleep(0)
    assert not putting.done()
    handling.queue.handled()
    await putting
    handling.queue.handled()
    assert handling.started == EVENTS[:3]


async def test_without_a_queue_an_event_waits_for_a_handler_to_end() -> None:
    handling = Handling(max_running=1, max_queued=0)
    await handling.queue.put(EVENTS[0])
    putting = asyncio.create_task(handling.queue.put(EVENTS[1]))
    await asyncio.sleep(0)
    handling.queue.handled()
    await putting
    assert handling.started == EVENTS[:2]


async def test_more_events_may_wait_while_an_answer_is_pending() -> None:
    handling = Handling(max_running=1, max_queued=1)
    for event in EVENTS[:2]:
        await handling.queue.put(event)
    putting = asyncio.create_task(handling.queue.put(EVENTS[2]))
    await asyncio.sleep(0)
    assert not putting.done()
    handling.acks.open()
    handling.queue.question_opened()
    await putting
    for event in EVENTS[3:]:
        await handling.queue.put(event)
    assert handling.started == EVENTS[:1]


async def test_a_queue_that_stays_full_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALL_LIMIT", 0.01)
    handling = Handling(max_running=1, max_queued=1)
    for event in EVENTS[:2]:
        await handling.queue.put(event)
    with pytest.raises(TooManyEvents, match="1 events of the server wait"):
        await handling.queue.put(EVENTS[2])


async def test_a_closed_queue_starts_nothing() -> None:
    handling = Handling(max_running=1, max_queued=1)
    for event in EVENTS[:2]:
        await handling.queue.put(event)
    putting = asyncio.create_task(handling.queue.put(EVENTS[2]))
    await asyncio.sleep(0)
    handling.queue.close()
    await putting
    handling.queue.handled()
    await handling.queue.put(EVENTS[3])
    assert handling.started == EVENTS[:1]
