"""Handlers and hooks: which functions they may be, and how they are called."""

import asyncio
import functools
import json
import threading
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.utils.translation import activate, gettext_lazy

from django_etp import Connection, Event, etp_event, on_connect, on_unknown_event
from django_etp.concurrency import database as database_module
from django_etp.events.registry import Registry
from django_etp.testing import EtpCommunicator
from tests.support.database import hang_up, is_spoiled, spoil
from tests.support.hooks import handler
from tests.support.inprocess import WAIT, Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")


# Functions


class Callable_:
    def __call__(self, connection: Any, event: Any) -> None: ...


class AsyncCallable:
    async def __call__(self, connection: Any, event: Any) -> None: ...


async def coroutine_function(connection: Any, event: Any) -> None: ...


def plain_function(connection: Any, event: Any) -> None: ...


@functools.wraps(coroutine_function)
async def wrapped(connection: Any, event: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (plain_function, False),
        (coroutine_function, True),
        (wrapped, True),
        (functools.partial(plain_function), False),
        (functools.partial(coroutine_function), True),
        (Callable_(), False),
        (AsyncCallable(), True),
        (AsyncCallable().__call__, True),
    ],
)
def test_functions_of_all_kinds(etp_registry: Registry, function: Any, is_async: bool) -> None:
    etp_event("event")(function)
    handler = etp_registry.namespace("default").events["event"]
    assert handler.is_async is is_async
    assert handler.place


def test_the_place_of_a_decorated_function_is_where_it_is_written(etp_registry: Registry) -> None:
    @functools.wraps(plain_function)
    def decorated(*args: Any) -> None: ...

    etp_event("event")(decorated)
    place = etp_registry.namespace("default").events["event"].place
    assert place.startswith(f"{__name__}.plain_function ({__file__}:")


def test_the_place_of_a_partial_is_where_its_function_is_written(etp_registry: Registry) -> None:
    etp_event("event")(functools.partial(functools.partial(wrapped)))
    place = etp_registry.namespace("default").events["event"].place
    assert place.startswith(f"{__name__}.coroutine_function ({__file__}:")


# Calls


class UserEncoder(json.JSONEncoder):
    """Writes users by their names, which it asks the database for."""

    def default(self, o: Any) -> Any:
        return [user.username for user in o] if isinstance(o, QuerySet) else super().default(o)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", ["users", "unknown"])
async def test_what_a_plain_handler_returns_becomes_json_in_its_thread(name: str, settings: Any) -> None:
    settings.ETP = {"JSON_ENCODER": UserEncoder}
    handler("users", False, lambda connection, event: User.objects.all())
    on_unknown_event(lambda connection, event: User.objects.all())
    await User.objects.acreate(username="ada")
    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack(name)).json() == ["ada"]


async def test_what_a_plain_handler_translates_is_in_the_language_that_it_has_chosen() -> None:
    @etp_event("today")
    def today(connection: Connection, event: Event) -> Any:
        activate("de")
        return gettext_lazy("Monday")

    async with Wire() as wire:
        wire.put("today||1")
        assert await wire.text() == "__ack_today||1||Montag"


async def test_a_plain_function_that_returns_an_awaitable_is_awaited() -> None:
    async def late() -> str:
        return "late"

    @functools.wraps(late)
    def wrapper(connection: Connection, event: Event) -> Any:
        return late()

    etp_event("hello")(lambda connection, event: late())
    etp_event("wrapped")(wrapper)
    async with EtpCommunicator() as client:
        assert (await client.emit_with_ack("hello")).data == "late"
        assert (await client.emit_with_ack("wrapped")).data == "late"


# Database connections


@pytest.mark.django_db(transaction=True)
async def test_plain_handlers_find_fresh_database_connections(settings: Any) -> None:
    settings.ETP = {"SYNC_WORKERS": 1}
    handler("spoil", False, lambda connection, event: spoil())
    handler("ask", False, lambda connection, event: is_spoiled())
    handler("hang_up", False, lambda connection, event: hang_up())
    async with Wire() as wire:
        wire.put("spoil||1")
        await wire.text()
        wire.put("ask||2")
        assert await wire.text() == "__ack_ask||2||false"
        wire.put("hang_up||3")
        await wire.text()


@pytest.mark.django_db(transaction=True)
async def test_async_hooks_find_fresh_database_connections(monkeypatch: Any) -> None:
    monkeypatch.setattr(database_module, "_FRESH_FOR", -1.0)
    found = []

    @on_connect
    async def greet(connection: Connection) -> None:
        found.append(await sync_to_async(is_spoiled)())

    await sync_to_async(spoil)()
    try:
        async with Wire():
            await until(lambda: found)
    finally:
        await sync_to_async(hang_up)()
    assert found == [False]


async def test_a_connection_whose_plain_handlers_wait_leaves_threads_to_others(settings: Any) -> None:
    settings.ETP = {"SYNC_WORKERS": 4}
    door = threading.Event()
    etp_event("wait")(lambda connection, event: door.wait(WAIT))
    etp_event("echo")(lambda connection, event: event.data)
    async with Wire() as greedy, Wire() as other:
        for _ in range(20):
            greedy.put("wait||0")
        try:
            other.put("echo||1||here")
            async with asyncio.timeout(WAIT / 2):
                assert await other.text() == "__ack_echo||1||here"
        finally:
            door.set()
