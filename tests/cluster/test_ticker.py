"""A node's clock, on a loop whose minutes pass at once."""

import asyncio

import pytest

from django_etp.cluster.ticker import Ticker
from tests.support.hurry import hurried, stand_still


class Recorder:
    """A ticker, and its calls."""

    def __init__(self) -> None:
        self.ticks: list[float] = []
        self.pauses: list[float] = []
        self.late: list[bool] = []
        self.ends = 0
        self.error: Exception | None = None
        self.ticker = Ticker(self._tick, self.pauses.append, self._end)

    def _tick(self, now: float) -> None:
        self.ticks.append(now)
        self.late.append(self.ticker.is_late)
        if self.error is not None:
            raise self.error

    async def _end(self) -> None:
        self.ends += 1


@hurried
async def test_it_ticks_four_times_a_second_until_it_is_stopped():
    recorder = Recorder()
    recorder.ticker.start()
    await asyncio.sleep(1.1)
    recorder.ticker.stop()
    assert not recorder.ticker.is_running
    await asyncio.sleep(1)
    assert recorder.ticks == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert (recorder.pauses, recorder.ends) == ([], 0)


@hurried
async def test_a_pause_is_reported_before_the_tick_that_follows_it():
    recorder = Recorder()
    recorder.ticker.start()
    await asyncio.sleep(0.3)
    stand_still(2)
    await asyncio.sleep(0.3)
    recorder.ticker.stop()
    assert len(recorder.pauses) == 1
    assert recorder.pauses[0] == recorder.ticks[1]


@hurried
async def test_a_short_delay_is_no_pause_and_makes_one_tick_late():
    recorder = Recorder()
    recorder.ticker.start()
    await asyncio.sleep(0.3)
    stand_still(1)
    await asyncio.sleep(0.6)
    recorder.ticker.stop()
    assert recorder.pauses == []
    assert recorder.late == [False, True, False, False]


@hurried
async def test_an_error_does_not_end_the_ticking():
    recorder = Recorder()
    recorder.error = ValueError("broken")
    recorder.ticker.start()
    await asyncio.sleep(0.6)
    recorder.ticker.stop()
    assert len(recorder.ticks) == 2


def test_the_end_of_the_loop_is_reported_once():
    recorder = Recorder()

    async def main() -> None:
        recorder.ticker.start()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert recorder.ends == 1
    assert not recorder.ticker.is_running


def test_a_ticker_that_was_stopped_does_not_report_the_end_of_the_loop():
    recorder = Recorder()

    async def main() -> None:
        recorder.ticker.start()
        await asyncio.sleep(0)
        recorder.ticker.stop()

    asyncio.run(main())
    assert recorder.ends == 0
