"""Rates of events: for a connection, a user and an address; what offenders and others get."""

import json
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser

from django_etp import Connection, Event, etp_event, etp_room, rooms
from django_etp.events import limits
from django_etp.events.middleware import surrounds
from django_etp.signals import rate_limited
from tests.support.declared import guest, refused
from tests.support.inprocess import Wire, errors, until

pytestmark = pytest.mark.usefixtures("etp_registry", "_rates")

EXTENSIONS = {"subprotocols": ["etp.ext.v1"]}


@pytest.fixture
def _rates(settings: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    location = request.node.name  # its counts are its own
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": location}}
    before = surrounds.events, surrounds.has_rates
    limits._warned_at.clear()
    yield
    surrounds.events, surrounds.has_rates = before


class User:
    is_authenticated = True
    is_anonymous = False

    def __init__(self, pk: int) -> None:
        self.pk = pk


async def send(wire: Wire, name: str, times: int) -> list[str]:
    """Send an event several times; return the codes of the answers."""
    for number in range(times):
        wire.put(f"{name}||{number + 1}")
    texts = [await wire.text() for _ in range(times)]
    return [json.loads(text.split("||")[2])["code"] if text.startswith("__err_") else "ok" for text in texts]


async def opened(**scope: Any) -> Wire:
    wire = await Wire(**EXTENSIONS, **scope).open()
    assert (await wire.text()).startswith("__hello")
    return wire


async def test_events_without_a_rate_are_called_as_if_none_had_one() -> None:
    callers: list[list[str]] = []

    @etp_event("other")
    async def other(connection: Connection, event: Event) -> None:
        callers.append([frame.name for frame in traceback.extract_stack()])

    wire = await opened()
    await send(wire, "other", 1)

    @etp_event("say", rate="2/min")
    async def say(connection: Connection, event: Event) -> None: ...

    await send(wire, "other", 1)
    assert callers[0] == callers[1]
    assert await send(wire, "say", 3) == ["ok", "ok", "rate_limited"]
    await wire.leave()


async def test_an_event_over_the_rate_is_refused_with_the_time_to_wait_and_others_are_not() -> None:
    told, refused = errors(), []
    rate_limited.connect(keep := lambda **facts: refused.append(facts))

    @etp_event("say", rate="2/min")
    async def say(connection: Connection, event: Event) -> None: ...

    @etp_event("other")
    def other(connection: Connection, event: Event) -> None: ...

    try:
        wire, bystander = await opened(), await opened()
        assert await send(wire, "say", 4) == ["ok", "ok", "rate_limited", "rate_limited"]
        wire.put("say||9")
        failure = json.loads((await wire.text()).split("||")[2])
        assert 0 < failure["retry_after"] <= 120
        assert failure["message"] == f"More than 2/min; try again in {failure['retry_after']:g} s."
        assert await send(wire, "other", 1) == ["ok"]
        assert await send(bystander, "say", 1) == ["ok"]
        for each in (wire, bystander):
            await each.leave()
    finally:
        rate_limited.disconnect(keep)
    assert [(facts["name"], facts["event"].name) for facts in refused] == [("say", "say")] * 3
    assert told == []  # no handler has failed


async def test_a_plain_client_gets_no_answer_for_what_is_refused() -> None:
    @etp_event("say", rate="1/min")
    async def say(connection: Connection, event: Event) -> str:
        return event.data

    async with Wire() as wire:
        for number in range(1, 4):
            wire.put(f"say||{number}||{number}")
        wire.put("made-up||4")
        assert [await wire.text() for _ in range(2)] == ["__ack_say||1||1", "__ack_made-up||4"]


async def test_the_rate_of_a_user_counts_all_connections_and_anonymous_ones_by_address() -> None:
    @etp_event("say", rate="3/min", rate_by="user")
    def say(connection: Connection, event: Event) -> None: ...

    users = [User(1), User(1), User(2), AnonymousUser(), AnonymousUser(), AnonymousUser()]
    addresses = ["1.1.1.1", "2.2.2.2", "1.1.1.1", "3.3.3.3", "3.3.3.3", "4.4.4.4"]
    wires = [await opened(user=user, client=(address, 1)) for user, address in zip(users, addresses, strict=True)]
    codes = [sorted(await send(wire, "say", 2)) for wire in wires]  # the answers come in any order
    over = ["ok", "rate_limited"]
    assert codes == [["ok", "ok"], over, ["ok", "ok"], ["ok", "ok"], over, ["ok", "ok"]]
    for wire in wires:
        await wire.leave()


async def test_the_rate_of_an_address_counts_all_of_its_users() -> None:
    @etp_event("say", rate="1/min", rate_by="ip")
    async def say(connection: Connection, event: Event) -> None: ...

    wires = [await opened(user=User(pk), client=(address, 1)) for pk, address in enumerate(["::1", "::1", "::2"])]
    assert [await send(wire, "say", 1) for wire in wires] == [["ok"], ["rate_limited"], ["ok"]]
    for wire in wires:
        await wire.leave()


async def test_the_setting_is_the_rate_of_all_events_of_a_connection(settings: Any) -> None:
    settings.ETP = {"RATE": "3/min"}

    @etp_event("say")
    async def say(connection: Connection, event: Event) -> None: ...

    wire = await opened()
    codes = await send(wire, "say", 2) + await send(wire, "made-up", 2) + await send(wire, "say", 1)
    assert codes == ["ok", "ok", "unknown_event", "rate_limited", "rate_limited"]
    await wire.leave()


@pytest.mark.parametrize("has_middleware", [False, True])
async def test_the_rate_of_an_event_counts_in_all_rooms_of_a_kind_and_names_them_by_the_pattern(
    has_middleware: bool, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.ETP = {"RATE": "1000/min"} if has_middleware else {}
    refused: list[dict[str, Any]] = []
    rate_limited.connect(keep := lambda **facts: refused.append(facts))

    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None: ...

    @order_room.event("say", rate="2/min")
    async def say(connection: Connection, number: int, pk: int) -> int:  # a typed handler has the rate, too
        return number + pk

    @order_room.event("ask", rate="2/min")
    async def ask(connection: Connection, event: Event, pk: int) -> AsyncIterator[str]:
        yield "part"

    async with guest() as client:
        for pk in (5, 6):
            await client.join(f"orders/{pk}")
        for number, pk in enumerate((5, 6, 5), 1):
            await client.send_frame(f"__in orders/{pk} say||{number}||7")
        frames = [await client.receive_frame() for _ in range(3)]
        for number in (4, 5, 6):
            await client.send_frame(f"__in orders/5 ask||{number}")
        frames += [await client.receive_frame() for _ in range(5)]
    rate_limited.disconnect(keep)
    assert frames[:2] == ["__ack___in orders/5 say||1||12", "__ack___in orders/6 say||2||13"]
    assert sum("rate_limited" in frame for frame in frames) == 2
    assert [(facts["name"], facts["event"].name) for facts in refused] == [
        ("orders/<int:pk> say", "say"),
        ("orders/<int:pk> ask", "ask"),
    ]
    [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "event 'orders/<int:pk> say'" in warning.getMessage()
    assert warning.__dict__["room"] == "orders/5"


async def test_a_second_join_over_the_rate_leaves_the_client_in_the_room(settings: Any) -> None:
    settings.ETP = {"RATE": "1/min"}
    etp_room("orders/<int:pk>")(lambda connection, pk: None)
    async with guest() as client:
        await client.join("orders/5")
        await refused(client, "orders/5", "rate_limited")
        await refused(client, "orders/6", "rate_limited")
        assert await rooms.anames() == ["orders/5"]


async def test_a_client_that_goes_on_is_closed_and_costs_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    @etp_event("say", rate="5/min")
    async def say(connection: Connection, event: Event) -> None: ...

    offender, bystander = await opened(user=User(7)), await opened()
    for number in range(1000):
        offender.put(f"say||{number + 1}")
    assert await send(bystander, "say", 1) == ["ok"]
    await until(lambda: offender.sent[-1]["type"] == "websocket.close")
    assert (offender.sent[-1]["code"], offender.sent[-1]["reason"]) == (1008, "too many events over the rate")
    assert sum("rate_limited" in str(message.get("text")) for message in offender.sent) == 99
    await offender.leave(1006)
    await bystander.leave()
    [warning] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "are over the rate of 5/min: event 'say'" in warning.getMessage()
    assert (warning.__dict__["event"], warning.__dict__["user_id"]) == ("say", 7)
    assert warning.__dict__["connection_id"] in warning.getMessage()


async def test_refused_events_of_another_minute_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    @etp_event("say", rate="1/min")
    async def say(connection: Connection, event: Event) -> None: ...

    wire = await opened()
    assert (await send(wire, "say", 60)).count("rate_limited") == 59
    monkeypatch.setattr(limits, "_MINUTE", 0.0)
    assert (await send(wire, "say", 200)).count("rate_limited") == 200
    monkeypatch.setattr(limits, "_MINUTE", 60.0)  # the last ones were all within it
    wire.put("say||1")
    await until(lambda: wire.sent[-1]["type"] == "websocket.close")
    await wire.leave(1006)


async def test_what_is_kept_for_warnings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_WARNED", 3)

    @etp_event("say", rate="1/min")
    async def say(connection: Connection, event: Event) -> None: ...

    for number in range(5):
        wire = await opened(client=(f"10.0.0.{number}", 5000))
        assert await send(wire, "say", 2) == ["ok", "rate_limited"]
        await wire.leave()
    assert list(limits._warned_at) == [f"address 10.0.0.{number}" for number in (2, 3, 4)]


@pytest.mark.parametrize("rate_by", ["connection", "user", "ip"])
async def test_a_client_that_connects_again_and_goes_on_costs_no_further_warning(
    rate_by: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @etp_event("say", rate="1/min", rate_by=rate_by)
    async def say(connection: Connection, event: Event) -> None: ...

    for scope in ({"user": User(7)}, {"client": ("10.0.0.1", 5000)}, {"client": ("10.0.0.2", 5000)}):
        for _ in range(3):
            wire = await opened(**scope)
            assert "rate_limited" in await send(wire, "say", 2)
            await wire.leave()
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 3


@pytest.mark.parametrize(
    ("options", "why"),
    [({"rate": "often"}, 'such as "20/s"'), ({"rate": "1/s", "rate_by": "room"}, "rate_by must be .* got 'room'")],
)
def test_a_wrong_rate_is_refused_where_it_is_written(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        etp_event("say", **options)
