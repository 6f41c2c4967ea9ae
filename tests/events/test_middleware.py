"""The functions around handlers and around on_connect."""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from django_etp import (
    Connection,
    Event,
    EventFailed,
    RejectConnection,
    etp_event,
    on_connect,
    on_unknown_event,
)
from django_etp.events import middleware
from django_etp.events.middleware import surround_events, surrounds
from tests.support.inprocess import Wire, errors, until
from tests.support.middleware import seen, use

pytestmark = pytest.mark.usefixtures("etp_registry")


@pytest.fixture(autouse=True)
def _seen() -> None:
    seen.clear()


async def outer(connection: Connection, event: Event, handle: Any) -> Any:
    seen.append(f"outer {event.name}")
    try:
        return await handle(connection, event)
    finally:
        seen.append(f"outer ends {event.name}")


async def other(connection: Connection, event: Event, handle: Any) -> Any:
    return {"instead": await handle(connection, replace(event, name="plain", data="changed"))}


async def refuse(connection: Connection, event: Event, handle: Any) -> Any:
    raise EventFailed("closed", "At night.")


async def around_connect(connection: Connection, handle: Any) -> None:
    seen.append("before")
    await handle(connection)
    seen.append("after")


async def reject(connection: Connection, handle: Any) -> None:
    raise RejectConnection("full")


def plain_function(connection: Connection, event: Event, handle: Any) -> Any: ...


async def test_the_first_is_the_outermost_and_sees_what_the_handler_returned(settings: Any) -> None:
    use(settings, __name__, "outer", "inner")

    @etp_event("async")
    async def handler(connection: Connection, event: Event) -> dict[str, int]:
        return {"a": 1}

    async with Wire() as wire:
        wire.put("async||1")
        assert await wire.text() == '__ack_async||1||{"a":1}'
    assert seen == ["outer async", "inner async", {"a": 1}, "outer ends async"]


async def test_plain_handlers_run_in_threads_and_their_results_become_text_there(settings: Any) -> None:
    use(settings, __name__, "inner")
    threads = []

    class Lazy(dict[str, Any]):
        """Records the thread in which it becomes JSON."""

        def items(self) -> Any:
            threads.append(threading.current_thread().name)
            return super().items()

    @etp_event("plain")
    def handler(connection: Connection, event: Event) -> Any:
        threads.append(threading.current_thread().name)
        return Lazy(a=1)

    async with Wire() as wire:
        wire.put("plain||1")
        assert await wire.text() == '__ack_plain||1||{"a":1}'
        wire.put("plain||0")
        await until(lambda: len(seen) == 4)
    assert isinstance(seen[1], Lazy)
    assert len(threads) >= 3
    assert all(name.startswith("etp-handler") for name in threads)


async def test_unknown_events_pass_through(settings: Any) -> None:
    use(settings, __name__, "outer", "inner")

    async with Wire() as wire:
        wire.put("made-up||1")
        assert await wire.text() == "__ack_made-up||1"

        @on_unknown_event
        def hook(connection: Connection, event: Event) -> str:
            return "hook"

        wire.put("made-up||2")
        assert await wire.text() == "__ack_made-up||2||hook"
    assert seen.count("inner made-up") == 2
    assert seen[-2:] == ["hook", "outer ends made-up"]


async def test_one_may_pass_on_another_event_and_return_another_result(settings: Any) -> None:
    use(settings, __name__, "other")

    @etp_event("plain")
    def handler(connection: Connection, event: Event) -> str:
        return event.data

    async with Wire() as wire:
        wire.put("say||1||original")
        assert await wire.text() == '__ack_say||1||{"instead":"changed"}'


async def test_one_may_refuse_and_the_inner_ones_do_not_run(settings: Any) -> None:
    use(settings, __name__, "outer", "refuse", "inner")
    told = errors()

    @etp_event("say")
    async def handler(connection: Connection, event: Event) -> None:
        seen.append("ran")

    async with Wire(subprotocols=["etp.ext.v1"]) as wire:
        await wire.text()
        wire.put("say||1")
        failure = json.loads((await wire.text()).split("||")[2])
    assert failure == {"code": "closed", "message": "At night."}
    assert seen == ["outer say", "outer ends say"]
    assert [type(error) for error in told] == [EventFailed]


async def test_changes_of_the_data_are_saved_and_failures_reported_as_without(settings: Any) -> None:
    use(settings, __name__, "outer")
    told = errors()

    @etp_event("fail")
    async def fail(connection: Connection, event: Event) -> None:
        raise ValueError("a bug")

    async with Wire() as wire:
        wire.put("fail||1")
        await until(lambda: told)
    assert isinstance(told[0], ValueError)


@pytest.mark.parametrize("has_hook", [False, True])
async def test_one_around_on_connect_runs_with_and_without_hooks(settings: Any, has_hook: bool) -> None:
    use(settings, __name__, connect=("around_connect",))
    if has_hook:

        @on_connect
        async def hook(connection: Connection) -> None:
            seen.append("hook")

    async with Wire():
        assert seen == (["before", "hook", "after"] if has_hook else ["before", "after"])


async def test_one_around_on_connect_may_reject(settings: Any) -> None:
    use(settings, __name__, connect=("around_connect", "reject"))
    wire = Wire().start()
    assert (await wire.next())["type"] == "websocket.close"
    await wire.leave()
    assert seen == ["before"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("nowhere.audit", "names 'nowhere.audit', which cannot be imported: .*nowhere"),
        (f"{__name__}.missing", "cannot be imported"),
        (f"{__name__}.plain_function", "is not an 'async def'"),
    ],
)
@pytest.mark.parametrize("key", ["MIDDLEWARE", "CONNECT_MIDDLEWARE"])
def test_a_path_that_leads_to_none_is_refused_as_django_starts(key: str, path: str, why: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"ETP\['{key}'\] {why}|{why}"):
        override_settings(ETP={key: [path]}).enable()
    middleware.load_middleware()


@pytest.fixture
def _apps() -> Iterator[None]:
    yield
    surrounds.of_apps.clear()
    middleware.load_middleware()


@pytest.mark.usefixtures("_apps")
async def test_those_of_apps_are_around_those_of_the_settings(settings: Any) -> None:
    use(settings, __name__, "inner")
    surround_events(outer)
    async with Wire() as wire:
        wire.put("x||1")
        await wire.text()
    assert seen == ["outer x", "inner x", None, "outer ends x"]
    await asyncio.sleep(0)


@pytest.mark.usefixtures("_apps")
def test_an_app_may_add_one_while_the_settings_are_wrong(settings: Any) -> None:
    settings.ETP = {"RATE": "often"}
    surround_events(outer)
    settings.ETP = {}
    assert surrounds.of_events == [outer]


def test_without_any_the_dispatcher_calls_handlers_by_itself(settings: Any) -> None:
    settings.ETP = {}
    assert not surrounds.of_events
    assert not surrounds.connects
