"""Checks that hang, fail, or are asked for often."""

import asyncio
import logging
import multiprocessing
import threading
import time
import warnings
from collections.abc import Iterator

import pytest

from django_etp.health import checks
from django_etp.health.checks import OK, Check
from tests.support.inprocess import until


class Thing:
    """A thing to check, which hangs while it is frozen."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.calls = 0
        self.answers = threading.Event()
        self.answers.set()
        self.check = Check("thing", self.look)

    def look(self) -> None:
        self.calls += 1
        self.answers.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture
def thing() -> Iterator[Thing]:
    thing = Thing()
    yield thing
    thing.answers.set()


async def test_a_thing_that_answers_is_ok(thing: Thing) -> None:
    assert [await thing.check.outcome() for _ in range(2)] == [OK, OK]
    assert thing.calls == 2


async def test_an_outcome_names_the_error_and_the_log_its_text(thing: Thing, caplog: pytest.LogCaptureFixture) -> None:
    thing.error = ConnectionError("to the host 10.0.0.5")
    assert [await thing.check.outcome() for _ in range(2)] == ["failed with ConnectionError"] * 2
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (
            logging.WARNING,
            "This process is not ready, because of its thing: ConnectionError: to the host 10.0.0.5.",
        )
    ]


async def test_a_thing_that_hangs_has_an_outcome_in_time(thing: Thing) -> None:
    thing.answers.clear()
    started_at = time.monotonic()
    outcomes = await asyncio.gather(*(thing.check.outcome() for _ in range(50)))
    assert set(outcomes) == {"no answer within 0.7 s"}
    assert time.monotonic() - started_at < 1
    assert thing.calls == 1  # one thread, for all requests
    thing.answers.set()
    await until_ok(thing)


async def until_ok(thing: Thing) -> None:
    async with asyncio.timeout(10):
        while await thing.check.outcome() != OK:
            pass


async def test_a_run_that_hangs_for_long_holds_up_no_other_and_few_hang(
    thing: Thing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "_HANGS_AFTER", 0.0)
    monkeypatch.setattr(checks, "_LIMIT", 0.01)
    thing.answers.clear()
    for _ in range(10):
        assert await thing.check.outcome() == "no answer within 0.01 s"
    assert thing.calls == 8
    thing.answers.set()
    await until_ok(thing)


async def test_a_request_that_gives_up_cancels_the_check_of_no_other(thing: Thing) -> None:
    thing.answers.clear()
    first, second = (asyncio.ensure_future(thing.check.outcome()) for _ in "12")
    await until(lambda: thing.calls)
    first.cancel()
    await asyncio.wait([first])
    thing.answers.set()
    assert await second == OK


def test_a_forked_child_does_not_wait_for_the_check_of_its_parent(thing: Thing) -> None:
    thing.answers.clear()
    assert asyncio.run(thing.check.outcome()) != OK
    context = multiprocessing.get_context("fork")
    outcomes = context.Queue()

    def ask() -> None:
        thing.answers = threading.Event()
        thing.answers.set()
        outcomes.put(asyncio.run(thing.check.outcome()))

    child = context.Process(target=ask)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on: a thread runs
        child.start()
    assert outcomes.get(timeout=20) == OK
    child.join(20)
