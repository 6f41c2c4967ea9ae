"""Limit the reports of failures of one connection."""

import logging
from collections.abc import Callable
from functools import partial

import pytest
from django.core.exceptions import PermissionDenied

from django_etp import (
    AckTimeout,
    Connection,
    ConnectionClosed,
    Event,
    EventFailed,
    InvalidFrame,
    InvalidPayload,
    TooManyRooms,
    etp_event,
)
from django_etp.events import repeats
from django_etp.events.repeats import Repeats
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry")

FORGED = "2026-11-29 00:00:00,000 CRITICAL django.security root logged in"
HOSTILE = f"oops\n{FORGED}\r\x1b[2J\u2028\u202e" + "A" * 5000


CAUSED = [AckTimeout, ConnectionClosed, EventFailed, InvalidPayload, PermissionDenied, TooManyRooms]
BUGS = [ValueError, KeyError, partial(InvalidPayload, is_outgoing=True)]


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def raised(make: Callable[[str], Exception], line: int) -> Exception:
    """Return an error that was raised in a given line of a file."""
    try:
        exec(compile("\n" * line + "raise make('x')", "shop/etp_events.py", "exec"), {"make": make})
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("make", [*CAUSED, *BUGS])
async def test_a_kind_is_a_class_and_a_place(make: Callable[[str], Exception]) -> None:
    counted = Repeats("a-connection")
    assert [counted.admit(raised(make, line)) for line in (1, 2, 1, 2)] == [True, True, False, False]
    assert [counted.admit(raised(OSError, line)) for line in (1, 2, 1, 2)] == [True, True, False, False]
    counted.end()


async def test_malformed_frames_are_one_kind() -> None:
    counted = Repeats("a-connection")
    assert [counted.admit(raised(InvalidFrame, line)) for line in (1, 2, 3)] == [True, False, False]
    counted.end()


@pytest.mark.parametrize(("first", "then"), [(EventFailed, ValueError), (ValueError, EventFailed)])
async def test_many_kinds_are_limited_and_hide_no_others(
    first: type[Exception], then: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    counted = Repeats("a-connection")
    assert [counted.admit(raised(first, line)) for line in range(100)] == [True] * 8 + [False] * 92
    assert [counted.admit(raised(then, line)) for line in range(100)] == [True] * 8 + [False] * 92
    counted.end()
    assert lines_of(caplog)[-1].endswith(f": 92 {first.__name__}, 92 {then.__name__}.")


async def test_a_recursion_of_any_depth_is_one_kind() -> None:
    def fall(depth: int) -> None:
        if not depth:
            raise ValueError
        fall(depth - 1)

    counted = Repeats("a-connection")
    admitted = []
    for depth in range(80, 90):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            fall(depth)
        admitted.append(counted.admit(caught.value))
    assert admitted == [True] + [False] * 9
    counted.end()


async def test_after_a_minute_the_count_is_logged_and_each_kind_is_reported_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(repeats, "_INTERVAL", 0.05)
    counted = Repeats("a-connection")
    assert [counted.admit(InvalidFrame("x")) for _ in range(2001)] == [True] + [False] * 2000
    assert [counted.admit(EventFailed("x")) for _ in range(2)] == [True, False]
    await until(lambda: lines_of(caplog))
    assert lines_of(caplog) == [
        "Connection a-connection had 2,001 more failures, which were not reported; each kind is reported once a "
        "minute: 2,000 InvalidFrame, 1 EventFailed."
    ]
    assert counted.admit(InvalidFrame("x"))
    counted.end()
    assert len(lines_of(caplog)) == 1


async def test_malformed_frames_are_reported_once_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    told = errors()
    async with Wire() as wire:
        for _ in range(50):
            wire.put("no frame")
        wire.put("hello||1")
        assert await wire.text() == "__ack_hello||1"
    assert [type(error) for error in told] == [InvalidFrame]
    lines = [line for line in lines_of(caplog) if "InvalidFrame" in line]
    assert len(lines) == 2
    assert lines[-1].endswith(": 49 InvalidFrame.")


async def test_a_flood_of_failures_of_several_kinds_takes_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Malformed frames, refusals, invalid data and two bugs: the bugs are reported, whatever the client sends first."""
    told = errors()

    @etp_event("divide")
    async def divide(connection: Connection, event: Event) -> float:
        return 1 / int(event.data)

    @etp_event("look up")
    def look_up(connection: Connection, event: Event) -> int:
        return {"a": 1}[event.data]

    @etp_event("parse")
    async def parse(connection: Connection, event: Event) -> None:
        event.json()

    frames = ["no frame", "what||1", "parse||0||{", "divide||0||0", "divide||0||x", "look up||0||b"]
    async with Wire(subprotocols=["etp.ext.v1"]) as wire:
        for number in range(1, 201):
            for frame in frames:
                wire.put(frame)
            wire.put(f"divide||{number}||1")
            await until(lambda: {"type": "websocket.send", "text": f"__ack_divide||{number}||1.0"} in wire.sent)  # noqa: B023
    expected = {InvalidFrame, EventFailed, InvalidPayload, ZeroDivisionError, ValueError, KeyError}
    assert {type(error) for error in told} == expected
    assert len(told) == len(expected)
    lines = lines_of(caplog)
    assert len(lines) == len(expected)  # the last one has the rest; the unknown event is a line of the level INFO
    assert "had 1,194 more failures" in lines[-1]
    assert sum("__err_what" in str(message.get("text")) for message in wire.sent) == 200


async def test_handlers_that_fail_since_the_client_has_gone_are_reported_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told = errors()

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> None:
        await connection.aemit_with_ack("question")

    async with Wire() as wire:
        for _ in range(20):
            wire.put("ask||0")
            await wire.text()
    assert [type(error) for error in told] == [ConnectionClosed]
    assert lines_of(caplog)[-1].endswith(": 19 ConnectionClosed.")


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

    @etp_event("look up")
    async def look_up(connection: Connection, event: Event) -> None:
        raise LookupError(event.data)

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
        wire.put(f"look up||0||{HOSTILE}")
        await until(
            lambda: (
                {type(error) for error in told}
                >= {EventFailed, InvalidPayload, InvalidFrame, PermissionDenied, LookupError}
            )
        )
    failures = [error for error in told if isinstance(error, EventFailed)]
    assert FORGED in failures[0].message
    for record in caplog.records:
        line = record.getMessage()
        assert line.isprintable()
        assert len(line) < 1500
    lines = caplog.text.splitlines()
    assert not [line for line in lines if line.startswith(FORGED[:10]) or not line.isprintable() or len(line) > 1500]
