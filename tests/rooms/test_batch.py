"""Batches on their way, on a publisher whose layer is a list."""

import asyncio
from typing import Any

from django_etp.rooms.batch import Batch
from tests.support.batches import Site, sends
from tests.support.hurry import hurried
from tests.support.inprocess import until


class Thread:
    """The batches that a thread hands to a site, and the errors with which they ended."""

    def __init__(self, site: Site) -> None:
        self.site: Any = site
        self.errors: list[Exception | None] = []
        self.last: Batch | None = None

    def commit(self, *rooms_and_texts: tuple[str, str]) -> Batch:
        self.last = Batch(self.site, sends(*rooms_and_texts), self.last, self._ended)
        self.last.begin()
        return self.last

    def _ended(self, batch: Batch, error: Exception | None) -> None:
        self.errors.append(error)


def numbers(count: int, room: str = "a") -> list[tuple[str, str]]:
    return [(room, str(number)) for number in range(count)]


async def test_a_batch_is_delivered_here_at_once_and_over_when_the_layer_took_it():
    site = Site()
    site.is_open.clear()
    thread = Thread(site)
    batch = thread.commit(("a", "1"), ("b", "2"))
    assert site.delivered == ["1", "2"]
    await asyncio.sleep(0)
    assert not batch.over.done()
    site.is_open.set()
    await asyncio.wrap_future(batch.over)
    assert thread.errors == [None]
    assert len(site.sent) == 2


async def test_a_later_batch_to_other_rooms_leaves_after_the_first():
    site = Site()
    site.is_open.clear()
    thread = Thread(site)
    thread.commit(("a", "1"))
    last = thread.commit(("b", "2"))
    await asyncio.sleep(0.01)
    site.is_open.set()
    await asyncio.wrap_future(last.over)
    assert site.texts == ["1", "2"]


async def test_what_is_sent_beside_a_batch_leaves_after_it():
    site = Site()
    site.is_open.clear()
    batch = Thread(site).commit(("a", "1"), ("b", "2"))
    (confirmation,) = site.send("default", ["c"], "3", frozenset(), batch.groups)
    await asyncio.sleep(0.01)
    site.is_open.set()
    await confirmation.wait()
    assert site.texts == ["1", "2", "1", "2", "3"]  # each group gets all of a batch


async def test_a_long_batch_waits_for_the_layer_and_those_behind_it_wait_for_the_long_one():
    site = Site()
    site.is_open.clear()
    thread = Thread(site)
    first = thread.commit(*numbers(1200))
    last = thread.commit(("b", "last"))
    await asyncio.sleep(0.01)
    assert len(site.delivered) == 500
    site.is_open.set()
    await asyncio.wrap_future(last.over)
    assert first.over.done()
    assert [len(message["frames"]) for message in site.sent] == [500, 500, 200, 1]
    assert site.delivered == [*map(str, range(1200)), "last"]


async def test_a_long_batch_lets_the_loop_turn():
    site = Site()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    batch = Thread(site).commit(*numbers(6000))
    assert not batch.over.done()
    await asyncio.wrap_future(batch.over)
    counting.cancel()
    assert turns > 3


@hurried
async def test_if_the_layer_fails_the_rest_is_delivered_here_without_waiting_for_it():
    site = Site()
    site.is_down = True
    thread = Thread(site)
    batch = thread.commit(*numbers(1200))
    await asyncio.wrap_future(batch.over)
    assert len(site.delivered) == 1200
    (error,) = thread.errors
    assert "did not confirm" in str(error)


async def test_a_publish_queue_that_is_full_is_an_error_of_the_batch():
    site = Site()
    site.is_open.clear()
    thread = Thread(site)
    for _ in range(21):
        thread.last = None
        thread.commit(*numbers(500))
    assert len(site.delivered) == 21 * 500
    site.is_open.set()
    await until(lambda: len(thread.errors) == 21)
    assert [error is None for error in thread.errors].count(True) == 20
    (error,) = filter(None, thread.errors)
    assert "publish queue is full" in str(error)


async def test_an_error_of_a_member_ends_the_batch_and_not_those_behind_it():
    site: Any = Site()
    thread = Thread(site)

    def fail(*args: Any) -> None:
        raise RuntimeError("a member failed")

    site.batches._deliver, deliver = fail, site.batches._deliver
    thread.commit(("a", "1"))
    site.batches._deliver = deliver
    await asyncio.wrap_future(thread.commit(("a", "2")).over)
    assert site.delivered == ["2"]
    assert isinstance(thread.errors[0], RuntimeError)


async def test_a_thread_waits_until_a_batch_is_on_its_way_or_over():
    site = Site()
    site.is_open.clear()
    batch = Thread(site).commit(("a", "1"))
    await asyncio.to_thread(batch.wait_until_begun)
    await asyncio.to_thread(batch.wait_until_over, 0.01)
    assert not batch.over.done()
    site.is_open.set()
    await asyncio.to_thread(batch.wait_until_over)
    assert batch.over.done()
