"""Hooks and handlers that several test modules register."""

from collections.abc import Callable
from typing import Any

import pytest

from django_etp import Connection, Event, RejectConnection, etp_event, on_disconnect
from tests.support.inprocess import Wire

# Each behaviour of coroutine functions and plain ones is shown with both.
both = pytest.mark.parametrize("is_async", [True, False], ids=["async", "plain"])


def hook(register: Callable[..., Any], is_async: bool, function: Callable[..., Any]) -> None:
    """Register a function as a hook, as an `async def` or as a plain `def`."""

    async def coroutine_function(*args: Any) -> Any:
        return function(*args)

    def plain_function(*args: Any) -> Any:
        return function(*args)

    register(coroutine_function if is_async else plain_function)


def handler(name: str, is_async: bool, function: Callable[..., Any]) -> None:
    """Register a function of the connection and the event, as an `async def` or as a plain `def`."""

    async def coroutine_function(connection: Connection, event: Event) -> Any:
        return function(connection, event)

    def plain_function(connection: Connection, event: Event) -> Any:
        return function(connection, event)

    etp_event(name)(coroutine_function if is_async else plain_function)


def ends() -> list[tuple[int, str]]:
    """Return a list that will hold what on_disconnect is told."""
    told: list[tuple[int, str]] = []

    @on_disconnect
    async def keep(connection: Connection, disconnect: Any) -> None:
        told.append((disconnect.code, disconnect.reason))

    return told


def reject(connection: Connection) -> None:
    raise RejectConnection("no seat")


def fail(*args: Any) -> None:
    raise ZeroDivisionError


def types(wire: Wire) -> list[str]:
    return [message["type"].removeprefix("websocket.") for message in wire.sent]


class Panic(BaseException):
    """As extensions in Rust raise it."""


def panic(*args: Any) -> None:
    raise Panic
