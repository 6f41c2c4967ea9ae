"""Limit the reports of failures that one connection can cause as often as it likes."""

import logging

import pytest
from django.core.exceptions import PermissionDenied

from django_etp import (
    AckTimeout,
    Connection,
    Event,
    EventFailed,
    InvalidFrame,
    InvalidPayload,
    TooManyEvents,
    etp_event,
)
from django_etp.events import repeats
from django_etp.events.repeats import Repeats, is_limited
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")

FORGED = "2026-11-29 00:00:00,000 CRITICAL django.security root logged in"
HOSTILE = f"oops\n{FORGED}\r\x1b[2J\u2028\u202e" + "A" * 5000


@pytest.mark.parametrize(
    ("error", "limited"),
    [
        (InvalidFrame("x"), True),
        (EventFailed("x"), True),
        (AckTimeout("x"), True),
        (InvalidPayload("x"), True),
        (PermissionDenied("x"), True),
        (InvalidPayload("x", is_outgoing=True), False),
        (TooManyEvents("x"), False),
        (ZeroDivisionError("x"), False),
    ],
)
def test_failures_that_a_client_causes_are_limited(error: Exception, limited: bool) -> None:
    assert is_limited(error) is limited


def test_the_first_of_each_kind_and_minute_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(repeats.time, "monotonic", lambda: now)
    counted = Repeats()
    assert [counted.admit(InvalidFrame("x")) for _ in range(3)] == [0, None, None]
    assert counted.admit(EventFailed("x")) == 0
    now += 60
    assert [counted.admit(InvalidFrame("x")) for _ in range(2)] == [2, None]
    assert counted.take() == {"InvalidFrame": 1}
    assert counted.take() == {}


async def test_malformed_frames_are_reported_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    told = errors()
    async with Wire() as wire:
        for _ in range(50):
            wire.put("no frame")
        wire.put("hello||1")
        assert await wire.text() == "__ack_hello||1"
    assert [type(error) for error in told] == [InvalidFrame]
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len([line for line in lines if "InvalidFrame" in line]) == 2
    assert lines[-1].endswith("failures that were not reported: 49 more of InvalidFrame.")


async def test_a_client_that_sends_malformed_frames_only_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    async with Wire() as wire:
        for _ in range(101):
            wire.put("no frame")
        message = await wire.next()
        assert (message["code"], message["reason"]) == (1008, "too many malformed frames")
    assert "more than 100 malformed frames in a row" in caplog.text


async def test_a_client_that_sends_events_between_malformed_frames_stays() -> None:
    async with Wire() as wire:
        for number in range(1, 5):
            for _ in range(99):
                wire.put("no frame")
            wire.put(f"hello||{number}")
            assert await wire.text() == f"__ack_hello||{number}"


async def test_each_exception_of_a_handler_is_reported() -> None:
    told = errors()

    @etp_event("divide")
    async def divide(connection: Connection, event: Event) -> float:
        return 1 / int(event.data)

    async with Wire() as wire:
        for _ in range(3):
            wire.put("divide||0||0")
        await until(lambda: len(told) == 3)


async def test_no_text_of_a_client_begins_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> str:
        return (await connection.aemit_with_ack("question")).data

    @etp_event("parse")
    async def parse(connection: Connection, event: Event) -> None:
        event.json()

    @etp_event("fail")
    async def fail(connection: Connection, event: Event) -> None:
        raise PermissionDenied(event.data)

    told = errors()
    async with Wire(subprotocols=["etp.ext.v1"]) as wire:
        await wire.text()  # the greeting
        wire.put("ask||0")
        number = (await wire.text()).split("||")[1]
        text = HOSTILE.replace("\\", "").encode("unicode_escape").decode().replace("\\x", "\\u00")
        wire.put(f'__err_question||{number}||{{"code": "{text}", "message": "{text}"}}')
        await until(lambda: len(told) == 1)
        wire.put(f"parse||0||{HOSTILE}")
        wire.put(f"{HOSTILE}||5||{HOSTILE}")
        wire.put(HOSTILE)
        wire.put(f"x||{HOSTILE}")
        wire.put(f"fail||0||{HOSTILE}")
        await until(
            lambda: {type(error) for error in told} >= {EventFailed, InvalidPayload, InvalidFrame, PermissionDenied}
        )
    failures = [error for error in told if isinstance(error, EventFailed)]
    assert FORGED in failures[0].message
    for record in caplog.records:
        line = record.getMessage()
        assert line.isprintable()
        assert len(line) < 1500
