"""Events without a handler are in the log, for plain clients too."""

import logging
from typing import Any

import pytest

from django_etp import EventFailed, etp_event, on_unknown_event
from django_etp.events import unknown
from django_etp.events.registry import Registry
from tests.support.inprocess import Wire, errors


@pytest.fixture(autouse=True)
def handler(etp_registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """One event with a handler, and no names in the log yet."""
    monkeypatch.setattr(unknown, "_logged", set())
    caplog.set_level(logging.INFO, "django_etp")
    etp_event("hello")(lambda connection, event: None)


async def send(*names: str, **scope: Any) -> None:
    """Send events to a server, each with an ack, and wait for the answers."""
    async with Wire(**scope) as wire:
        if scope:
            await wire.text()  # the greeting
        for name in names:
            wire.put(f"{name}||1")
            await wire.text()


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "without a handler" in each.msg or "No handler" in each.msg]


@pytest.mark.parametrize("scope", [{}, {"subprotocols": ["etp.ext.v1"]}, {"subprotocols": ["etp.ext.v2"]}])
async def test_an_unknown_event_is_in_the_log_once(caplog: pytest.LogCaptureFixture, scope: dict[str, Any]) -> None:
    await send("helo", "helo", **scope)
    await send("helo", **scope)
    assert lines(caplog) == ["No handler for the event 'helo' in the namespace 'default'. Did you mean 'hello'?"]
    assert not any("failed at" in each.getMessage() for each in caplog.records)


async def test_each_name_has_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    await send("other", "another\nline", "other")
    assert lines(caplog) == [
        "No handler for the event 'other' in the namespace 'default'. The namespace has 1 events.",
        "No handler for the event 'another\\nline' in the namespace 'default'. The namespace has 1 events.",
    ]


@pytest.mark.parametrize(("debug", "level"), [(False, logging.INFO), (True, logging.WARNING)])
async def test_it_is_a_warning_while_a_project_is_developed(
    caplog: pytest.LogCaptureFixture, settings: Any, debug: bool, level: int
) -> None:
    settings.DEBUG = debug
    await send("other")
    assert [each.levelno for each in caplog.records if "No handler" in each.msg] == [level]


async def test_after_a_minute_it_is_logged_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send("other")
    monkeypatch.setattr(unknown, "_since", unknown._since - 61)
    await send("other")
    assert len(lines(caplog)) == 2


async def test_a_client_cannot_fill_the_log_with_names(caplog: pytest.LogCaptureFixture) -> None:
    await send(*(f"name {index}" for index in range(150)))
    logged = lines(caplog)
    assert len(logged) == 101
    assert logged[-1] == "More events without a handler arrive; they are not in the log for a minute."
    assert len(unknown._logged) == 101


async def test_an_event_of_the_fallback_hooks_is_not_unknown(caplog: pytest.LogCaptureFixture) -> None:
    on_unknown_event(lambda connection, event: "fallback")
    await send("other")
    assert lines(caplog) == []


async def test_on_error_gets_the_failure_of_a_client_with_the_extensions() -> None:
    told = errors()
    await send("other", subprotocols=["etp.ext.v1"])
    (error,) = told
    assert isinstance(error, EventFailed)
    assert error.code == "unknown_event"
