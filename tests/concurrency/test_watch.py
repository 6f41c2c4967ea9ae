"""Writers whose clients take too little are given up, and no others."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from django.test import override_settings

from django_etp.concurrency.watch import Watch
from tests.support.inprocess import until

TIMEOUT = 0.4


class Writer:
    """A writer that takes what the test says."""

    def __init__(self, *, is_over: bool = False, takes_parts: bool = True) -> None:
        self.is_waiting = True
        self.takes_parts = takes_parts
        self.is_over = is_over
        self.taken = 0
        self.waiting_size = 100
        self.given_up: list[float] = []

    def give_up(self, seconds: float) -> None:
        self.given_up.append(seconds)


def stand_still() -> None:
    """Block the event loop, as if the process were stopped."""
    time.sleep(2 * TIMEOUT)


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with override_settings(ETP={"SLOW_CLIENT_TIMEOUT": TIMEOUT, "MAX_OUTBOX": 6400}):
        yield


@pytest.fixture
async def watch() -> Watch:
    return Watch(asyncio.get_running_loop())


@pytest.mark.parametrize(
    ("is_over", "takes_parts", "limit"),
    [(False, True, TIMEOUT), (False, False, TIMEOUT), (True, True, TIMEOUT / 4), (True, False, TIMEOUT)],
)
async def test_a_writer_whose_client_takes_nothing_is_given_up_once(
    watch: Watch, is_over: bool, takes_parts: bool, limit: float
) -> None:
    writer = Writer(is_over=is_over, takes_parts=takes_parts)
    watch.add(writer)
    watch.add(writer)
    await until(lambda: writer.given_up)
    assert limit <= writer.given_up[0] < limit + TIMEOUT
    await asyncio.sleep(TIMEOUT)
    assert len(writer.given_up) == 1


@pytest.mark.parametrize(("is_over", "taken"), [(False, 1), (True, 100)])
async def test_a_client_that_takes_enough_is_not_to_blame(watch: Watch, is_over: bool, taken: int) -> None:
    writer, other = Writer(is_over=is_over), Writer(is_over=is_over)
    watch.add(writer)
    watch.add(other)
    while not other.given_up:
        writer.taken += taken
        await asyncio.sleep(0.01)
    assert not writer.given_up


async def test_a_client_that_is_far_behind_must_take_more_than_a_byte(watch: Watch) -> None:
    writer = Writer(is_over=True)
    watch.add(writer)
    while not writer.given_up:
        writer.taken += 1
        await asyncio.sleep(0.01)


async def test_a_large_frame_that_begins_counts_against_no_client(watch: Watch) -> None:
    """The frame is in the server's buffer, and counts as written only at its end."""
    writer, other = Writer(), Writer()
    watch.add(writer)
    watch.add(other)
    writer.taken = -10_000_000
    while not other.given_up:
        writer.taken += 1000
        await asyncio.sleep(0.01)
    assert not writer.given_up


async def test_a_writer_that_has_written_all_is_watched_no_longer(watch: Watch) -> None:
    done, stuck = Writer(), Writer()
    watch.add(done)
    watch.add(stuck)
    done.is_waiting = False
    await until(lambda: stuck.given_up)
    done.is_waiting = True
    watch.add(again := Writer())
    await until(lambda: again.given_up)
    assert not done.given_up


async def test_a_process_that_stood_still_gives_up_nobody_for_that(watch: Watch) -> None:
    writer = Writer()
    watch.add(writer)
    stand_still()
    await asyncio.sleep(TIMEOUT / 4)
    assert not writer.given_up
    await until(lambda: writer.given_up)


async def test_no_timer_runs_while_nothing_is_watched(watch: Watch) -> None:
    writer = Writer()
    watch.add(writer)
    await until(lambda: writer.given_up)
    timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    assert not [timer for timer in timers if not timer.cancelled() and "Watch" in repr(timer)]


async def test_the_bytes_are_known_that_wait_for_clients(watch: Watch) -> None:
    assert watch.waiting() == (0, 0)
    behind, caught_up = Writer(), Writer()
    watch.add(behind)
    watch.add(caught_up)
    assert watch.waiting() == (2, 200)
    caught_up.is_waiting = False
    assert watch.waiting() == (1, 100)
    behind.is_waiting = False
