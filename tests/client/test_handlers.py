"""The handlers and hooks of a client: how they are registered, called and reported."""

import asyncio
import logging
from typing import Any

import pytest

from django_etp.client.handlers import ClientHandlers, is_end
from django_etp.exceptions import EtpError, EventFailed, InvalidEventName, InvalidFrame
from django_etp.protocol import Event


class Panic(BaseException):
    """A failure that is not an Exception, as a Rust extension raises."""


async def answer_of(handlers: ClientHandlers, name: str, *, speaks_extensions: bool = False) -> object:
    return await handlers.answer(Event(name, 1, "data"), speaks_extensions=speaks_extensions)


async def test_an_event_is_answered_by_its_handler() -> None:
    handlers = ClientHandlers()
    handlers.add("plain", lambda event: event.data)

    async def slow(event: Event) -> str:
        await asyncio.sleep(0)
        return event.data * 2

    handlers.add("coroutine", slow)
    assert await answer_of(handlers, "plain") == "data"
    assert await answer_of(handlers, "coroutine") == "datadata"


def test_an_event_has_one_handler() -> None:
    handlers = ClientHandlers()
    handlers.add("news", print)
    with pytest.raises(EtpError, match="'news' already has a handler"):
        handlers.add("news", print)


@pytest.mark.parametrize("name", ["__news", "a||b", "a|"])
def test_a_handler_needs_a_name_that_events_can_have(name: str) -> None:
    with pytest.raises(InvalidEventName):
        ClientHandlers().add(name, print)


async def test_the_last_fallback_that_returns_something_answers() -> None:
    handlers = ClientHandlers()
    for result in ("first", "second", None):
        handlers.add_hook("unknown_event", lambda event, result=result: result)
    assert await answer_of(handlers, "news", speaks_extensions=True) == "second"


async def test_an_unknown_event_is_a_failure_only_to_a_server_that_speaks_the_extensions() -> None:
    assert await answer_of(ClientHandlers(), "news") is None
    with pytest.raises(EventFailed, match="unknown_event"):
        await answer_of(ClientHandlers(), "news", speaks_extensions=True)


async def test_hooks_run_in_order_and_one_that_fails_is_reported() -> None:
    handlers, calls = ClientHandlers(), list[Any]()
    failure = LookupError("broken")

    def fail() -> None:
        raise failure

    handlers.add_hook("connect", fail)
    handlers.add_hook("connect", lambda: calls.append("connected"))
    handlers.add_hook("error", calls.append)
    await handlers.run_hooks("connect")
    assert calls == [failure, "connected"]


@pytest.mark.parametrize(
    ("error", "level"), [(LookupError("broken"), logging.ERROR), (InvalidFrame("no frame"), logging.WARNING)]
)
async def test_a_report_is_logged(error: Exception, level: int, caplog: pytest.LogCaptureFixture) -> None:
    await ClientHandlers().report(error, "reading a message")
    (record,) = caplog.records
    assert (record.levelno, bool(record.exc_info)) == (level, level == logging.ERROR)
    assert record.getMessage() == f"The client failed while reading a message: {type(error).__name__}: {error}"


async def test_an_error_hook_that_fails_does_not_keep_others_from_the_report(
    caplog: pytest.LogCaptureFixture,
) -> None:
    handlers, reported = ClientHandlers(), list[BaseException]()
    error = LookupError("broken")

    def fail(error: BaseException) -> None:
        raise Panic

    handlers.add_hook("error", fail)
    handlers.add_hook("error", reported.append)
    await handlers.report(error, "reading a message")
    assert reported == [error]
    assert "An on_error hook failed itself." in caplog.text


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_the_end_of_the_process_is_not_reported(kind: type[BaseException]) -> None:
    handlers, reported = ClientHandlers(), list[BaseException]()

    def end() -> None:
        raise kind

    handlers.add_hook("connect", end)
    handlers.add_hook("error", reported.append)
    with pytest.raises(kind):
        await handlers.run_hooks("connect")
    assert reported == []


async def test_the_end_of_a_task_is_told_from_a_failure() -> None:
    assert is_end(SystemExit())
    assert not is_end(Panic())
    assert not is_end(asyncio.CancelledError())  # of something that the task awaited
