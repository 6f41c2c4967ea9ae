"""The signals: when each is sent, and how its receivers are called."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.dispatch import Signal

from django_etp import (
    Connection,
    Event,
    EventFailed,
    History,
    MessagesLost,
    RejectConnection,
    etp_event,
    etp_room,
    on_connect,
    on_unknown_event,
    rooms,
)
from django_etp.cluster.gaps import Loss
from django_etp.hub.process import serving_hub
from django_etp.rooms.background import send_in_background
from django_etp.signals import (
    connected,
    disconnected,
    event_handled,
    messages_lost,
    rate_limited,
    room_sent,
    slow_client_closed,
)
from tests.support.batches import sends
from tests.support.declared import guest
from tests.support.inprocess import Wire, until
from tests.support.rooms import clients

pytestmark = pytest.mark.usefixtures("etp_registry")

Facts = list[dict[str, Any]]


@contextmanager
def receiving(signal: Signal) -> Iterator[Facts]:
    """Yield a list of the arguments that a receiver gets."""
    received: Facts = []

    def keep(**arguments: Any) -> None:
        assert arguments.pop("signal") is signal
        assert arguments.pop("sender") is None
        received.append(arguments)

    signal.connect(keep)
    try:
        yield received
    finally:
        signal.disconnect(keep)


async def test_a_connection_is_announced_once_it_is_open_and_at_its_end() -> None:
    order: list[str] = []
    kept: list[Connection] = []

    @on_connect
    async def enter(connection: Connection) -> None:
        order.append("on_connect")
        kept.append(connection)

    with receiving(connected) as began, receiving(disconnected) as ended:
        wire = await Wire().open()
        await until(lambda: began)
        assert began == [{"connection": kept[0]}]
        assert ended == []
        await wire.leave(1001)
    assert len(began) == 1
    [end] = ended
    assert (end["connection"], end["disconnect"].code) == (kept[0], 1001)


@pytest.mark.parametrize("error", [RejectConnection("no"), PermissionDenied(), ValueError("a bug")])
@pytest.mark.parametrize("accepts_early", [False, True])
async def test_a_connection_that_is_refused_is_not_announced(error: Exception, accepts_early: bool) -> None:
    @on_connect
    async def refuse(connection: Connection) -> None:
        if accepts_early:
            await connection.aaccept()
        raise error

    with receiving(connected) as began, receiving(disconnected) as ended:
        wire = Wire().start()
        await until(lambda: wire.sent[-1:] and wire.sent[-1]["type"] != "websocket.accept")
        wire.vanish()
        await wire.ended()
    assert (began, ended) == ([], [])


async def test_a_handled_event_is_reported_with_its_name_time_and_outcome() -> None:
    @etp_event("fine")
    async def fine(connection: Connection, event: Event) -> str:
        await asyncio.sleep(0.05)
        return "x"

    @etp_event("plain")
    def plain(connection: Connection, event: Event) -> None: ...

    @etp_event("wrong")
    async def wrong(connection: Connection, event: Event) -> Any:
        return {"a set": {1}}

    @etp_event("broken")
    def broken(connection: Connection, event: Event) -> None:
        raise ValueError("a bug")

    @etp_event("refused")
    async def refused(connection: Connection, event: Event) -> None:
        raise EventFailed("sold_out")

    with receiving(event_handled) as handled:
        async with Wire() as wire:
            for number, name in enumerate(["fine", "plain", "wrong", "broken", "refused", "made-up"], 1):
                wire.put(f"{name}||{number}||data")
                await until(lambda number=number: len(handled) == number)  # type: ignore[misc]
            wire.put("no frame")
            wire.put("plain||7")
            assert [await wire.text() for _ in range(4)]
    assert [(facts["name"], facts["outcome"]) for facts in handled] == [
        ("fine", "ok"),
        ("plain", "ok"),
        ("wrong", "handler_error"),
        ("broken", "handler_error"),
        ("refused", "sold_out"),
        (None, "unknown_event"),
        ("plain", "ok"),
    ]
    assert 0.05 <= handled[0]["seconds"] < 2
    assert handled[0]["event"] == Event("fine", 1, "data")
    assert len({facts["connection"] for facts in handled}) == 1


async def test_an_unknown_event_that_a_hook_handles_is_fine_and_has_no_name() -> None:
    @on_unknown_event
    async def other(connection: Connection, event: Event) -> str:
        return "x"

    with receiving(event_handled) as handled:
        async with Wire() as wire:
            wire.put("made-up||1")
            await wire.text()
            await until(lambda: handled)
    assert [(facts["name"], facts["outcome"]) for facts in handled] == [(None, "ok")]


async def test_events_of_declared_rooms_have_the_pattern_in_their_name() -> None:
    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None: ...

    @order_room.event("say")
    async def say(connection: Connection, event: Event, pk: int) -> None: ...

    with receiving(event_handled) as handled:
        async with guest() as client:
            await client.join("orders/5")
            for number, name in enumerate(("__in orders/5 say", "__in orders/5 shout", "__in orders/6 say"), 1):
                await client.send_frame(f"{name}||{number}")
            await client.send_frame('__leave||4||{"room":"made-up"}')
            await until(lambda: len(handled) == 5)
    assert [(facts["event"].name, facts["name"], facts["outcome"]) for facts in handled] == [
        ("__join", "orders/<int:pk> __join", "ok"),
        ("say", "orders/<int:pk> say", "ok"),
        ("shout", None, "unknown_event"),
        ("say", "orders/<int:pk> say", "permission_denied"),
        ("__leave", None, "ok"),
    ]


async def test_a_handler_that_is_cancelled_is_reported(settings: Any) -> None:
    settings.ETP = {"DISCONNECT_GRACE": 0}

    @etp_event("hang")
    async def hang(connection: Connection, event: Event) -> None:
        await asyncio.Event().wait()

    with receiving(event_handled) as handled:
        async with Wire() as wire:
            wire.put("hang||1")
            await asyncio.sleep(0)
        await until(lambda: handled)
    assert [facts["outcome"] for facts in handled] == ["cancelled"]


async def test_sends_to_rooms_are_reported_by_the_process_that_sends() -> None:
    async with clients("a", "a b") as (client, _):
        with receiving(room_sent) as sent:
            await rooms.aemit("a", "one", "data")
            await rooms.aemit(["a", "b"], "two")
            await asyncio.to_thread(rooms.broadcast, "all")
            await asyncio.to_thread(send_in_background, sends(("b", "later||0")))
            await rooms.aemit_to(client.id, "single")
            await until(lambda: len(sent) == 4)
    assert sent == [
        {"namespace": "default", "rooms": ("a",), "event": "one"},
        {"namespace": "default", "rooms": ("a", "b"), "event": "two"},
        {"namespace": "default", "rooms": None, "event": "all"},
        {"namespace": "default", "rooms": ("b",), "event": "later"},
    ]


async def test_sends_to_rooms_with_history_are_reported_too() -> None:
    @etp_room("orders/<int:pk>", history=History())
    async def order_room(connection: Connection, pk: int) -> None: ...

    async with clients("a"):
        with receiving(room_sent) as sent:
            await rooms.aemit(order_room(pk=5), "one")
            await rooms.aemit(["a", order_room(pk=5)], "two")
            await asyncio.to_thread(send_in_background, sends(("orders/5", "three||0")))
            await until(lambda: len(sent) == 3)
    assert [(facts["rooms"], facts["event"]) for facts in sent] == [
        (("orders/5",), "one"),
        (("a", "orders/5"), "two"),
        (("orders/5",), "three"),
    ]


async def test_presence_goes_on_and_is_not_reported() -> None:
    @etp_room("orders/<int:pk>", presence=True)
    async def order_room(connection: Connection, pk: int) -> None: ...

    with receiving(room_sent) as sent:
        async with guest() as ana, guest() as ben:
            order = await ana.join("orders/5")
            await ben.join("orders/5")
            assert len((await order.expect_presence())["joined"]) == 1
    assert sent == []


async def test_lost_messages_are_reported() -> None:
    async with clients("a"):
        with receiving(messages_lost) as lost:
            serving_hub().report_loss(Loss(rooms.group_name("a"), 2, 5))
    [facts] = lost
    assert isinstance(facts["error"], MessagesLost)
    assert (facts["error"].room, facts["error"].messages, facts["error"].frames) == ("a", 2, 5)


async def test_a_slow_client_is_reported_before_its_end(settings: Any) -> None:
    settings.ETP = {"SLOW_CLIENT_TIMEOUT": 0.1}
    is_stuck = asyncio.Event()

    async def hang(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            await is_stuck.wait()

    with receiving(slow_client_closed) as slow, receiving(disconnected) as ended:
        wire = await Wire(on_send=hang).open()
        await rooms.abroadcast("news")
        await until(lambda: slow and ended)
        is_stuck.set()
        await wire.leave(1006)
    assert slow[0]["connection"] is ended[0]["connection"]
    assert ended[0]["disconnect"].code == 1013


async def test_receivers_may_be_asynchronous_and_may_fail(caplog: pytest.LogCaptureFixture) -> None:
    received: list[str] = []

    def broken(**_: Any) -> None:
        raise ValueError("a bug")

    async def broken_too(**_: Any) -> None:
        raise ValueError("a bug")

    async def late(**arguments: Any) -> None:
        await asyncio.sleep(0)
        received.append(arguments["event"].name)

    for receiver in (broken, broken_too, late):
        event_handled.connect(receiver)
    try:
        async with Wire() as wire:
            wire.put("x||1")
            assert await wire.text() == "__ack_x||1"
            await until(lambda: received)
    finally:
        for receiver in (broken, broken_too, late):
            event_handled.disconnect(receiver)
    assert received == ["x"]
    failures = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert sorted(failures) == [
        f"The receiver {__name__}.{test_receivers_may_be_asynchronous_and_may_fail.__name__}.<locals>.{each.__name__} "
        "of a signal failed."
        for each in (broken, broken_too)
    ]


@pytest.mark.parametrize("signal", [connected, disconnected, event_handled, rate_limited, room_sent])
def test_a_signal_has_no_receivers_unless_a_project_connects_some(signal: Signal) -> None:
    assert signal.receivers == []
