"""Streamed answers: their frames, their end, and who holds whom up."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest

from django_etp import Connection, Event, EventFailed, etp_event, etp_room, rooms
from django_etp.events import streams
from django_etp.exceptions import InvalidPayload
from tests.support.inprocess import Message, Wire, errors, until
from tests.support.middleware import use

pytestmark = pytest.mark.usefixtures("etp_registry", "both_ways")

V2 = {"subprotocols": ["etp.ext.v2"]}
PLAIN: list[dict[str, Any]] = [{}, {"subprotocols": ["etp.ext.v1"]}]


@dataclass
class Word:
    text: str


@pytest.fixture(autouse=True)
def no_stream_is_left() -> Any:
    yield
    assert streams._running == {}


async def opened(**scope: Any) -> Wire:
    """Return a connection after its greeting."""
    wire = await Wire(**scope).open()
    if scope:
        await wire.text()
    return wire


async def frames(wire: Wire, count: int) -> list[str]:
    return [await wire.text() for _ in range(count)]


def running_numbers() -> list[int]:
    """Return the numbers of the events whose answers are being streamed."""
    return [each.event.ack_id for running in streams._running.values() for each in running if each.event]


def endless(*, ended: list[str], seen: list[int] | None = None) -> None:
    """Register `endless`, which streams numbers and waits after the second one."""

    @etp_event("endless")
    async def handler(connection: Connection, event: Event) -> AsyncIterator[Any]:
        try:
            yield 1
            yield 2
            await asyncio.Event().wait()
        except BaseException as error:
            ended.append(type(error).__name__)
            raise
        finally:
            ended.append("finally")


# What is sent


async def test_each_value_is_a_frame_and_the_answer_ends_them() -> None:
    @etp_event("count")
    async def count(connection: Connection, event: Event) -> AsyncIterator[Any]:
        for number in range(3):
            yield number

    wire = await opened(**V2)
    wire.put("count||7")
    assert await frames(wire, 4) == ["__part_count||7||0", "__part_count||7||1", "__part_count||7||2", "__ack_count||7"]
    await wire.leave()


@pytest.mark.parametrize("scope", PLAIN)
@pytest.mark.parametrize(
    ("values", "answer"),
    [
        (["Hello, ", "", "World"], "||Hello, World"),
        ([1, 2], "||[1,2]"),
        (["a", 1, None], '||["a",1,null]'),
        ([{"a": 1}], '||[{"a":1}]'),
        ([], ""),
    ],
)
async def test_a_plain_client_gets_one_answer(scope: dict[str, Any], values: list[Any], answer: str) -> None:
    @etp_event("words")
    async def words(connection: Connection, event: Event) -> AsyncIterator[Any]:
        for value in values:
            yield value

    wire = await opened(**scope)
    wire.put("words||7")
    assert await wire.text() == f"__ack_words||7{answer}"
    await wire.leave()


async def test_values_of_other_kinds_go_as_those_of_handlers() -> None:
    @etp_event("words")
    async def words(connection: Connection, event: Event) -> AsyncIterator[Any]:
        yield "text"
        yield {"a": 1}
        yield None

    wire = await opened(**V2)
    wire.put("words||7")
    assert await frames(wire, 4) == [
        "__part_words||7||text",
        '__part_words||7||{"a":1}',
        "__part_words||7",
        "__ack_words||7",
    ]
    await wire.leave()


async def test_parts_have_the_declared_type() -> None:
    @etp_event("words")
    async def words(connection: Connection, message: list[str]) -> AsyncGenerator[Word, None]:
        for text in message:
            yield Word(text)

    @etp_event("texts")
    async def texts(connection: Connection, message: list[str]) -> AsyncIterator[str]:
        for text in message:
            yield text

    for scope, expected in [
        (V2, ['__part_words||1||{"text":"a"}', '__part_words||1||{"text":"b"}', "__ack_words||1"]),
        ({}, ['__ack_words||1||[{"text":"a"},{"text":"b"}]']),
    ]:
        wire = await opened(**scope)
        wire.put('words||1||["a","b"]')
        assert await frames(wire, len(expected)) == expected
        await wire.leave()
    wire = await opened()
    wire.put('texts||1||["a","b"]')
    assert await wire.text() == "__ack_texts||1||ab"
    wire.put("texts||2||[]")
    assert await wire.text() == "__ack_texts||2"
    await wire.leave()


async def test_data_that_does_not_fit_starts_no_stream() -> None:
    started = []

    @etp_event("words")
    async def words(connection: Connection, message: list[str]) -> AsyncIterator[str]:
        started.append(message)
        yield "a"

    wire = await opened(**V2)
    wire.put("words||1||5")
    assert '"code":"invalid_payload"' in await wire.text()
    assert started == []
    await wire.leave()


async def test_a_part_that_does_not_fit_ends_the_stream_with_its_error() -> None:
    @etp_event("words")
    async def words(connection: Connection, event: Event) -> AsyncIterator[Word]:
        yield Word("a")
        yield Word(5)  # type: ignore[arg-type]

    told = errors()
    wire = await opened(**V2)
    wire.put("words||1")
    assert await wire.text() == '__part_words||1||{"text":"a"}'
    assert '"code":"handler_error"' in await wire.text()
    assert isinstance(told[0], InvalidPayload)
    await wire.leave()


async def test_without_an_ack_the_generator_runs_and_nothing_is_sent() -> None:
    ran = []

    @etp_event("count")
    async def count(connection: Connection, event: Event) -> AsyncIterator[Any]:
        for number in range(3):
            yield number
            ran.append(number)

    wire = await opened(**V2)
    wire.put("count||0")
    await until(lambda: len(ran) == 3)
    await wire.leave()
    assert len(wire.sent) == 2  # the accept and the greeting


async def test_events_inside_a_room_stream_as_well() -> None:
    @etp_room("desks/<int:pk>")
    async def desk(connection: Connection, pk: int) -> None: ...

    @desk.event("count")
    async def count(connection: Connection, number: int, pk: int) -> AsyncIterator[Any]:
        for each in range(number):
            yield [pk, each]

    wire = await opened(**V2)
    wire.put('__join||1||{"room":"desks/7"}')
    await wire.text()
    wire.put("__in desks/7 count||2||2")
    assert await frames(wire, 3) == [
        "__part___in desks/7 count||2||[7,0]",
        "__part___in desks/7 count||2||[7,1]",
        "__ack___in desks/7 count||2",
    ]
    await wire.leave()


# Inside a declared room


async def in_desks(*, ended: list[str]) -> Wire:
    """Return a connection in `desks/7` and `desks/8`, where `count` streams two numbers and waits, and `go` leaves."""

    @etp_room("desks/<int:pk>")
    async def desk(connection: Connection, pk: int) -> None: ...

    @desk.event("count")
    async def count(connection: Connection, event: Event, pk: int) -> AsyncIterator[Any]:
        try:
            yield 1
            yield 2
            await asyncio.Event().wait()
        finally:
            ended.append(event.data)

    @desk.event("go")
    async def go(connection: Connection, event: Event, pk: int) -> AsyncIterator[Any]:
        try:
            yield "going"
            await connection.aleave(desk(pk=pk))
            await asyncio.sleep(0)  # which a cancelled task would not survive
            ended.append(f"left {connection.rooms}")
            yield "a part for a member"
        finally:
            ended.append("closed")

    wire = await opened(**V2)
    for ack_id, pk in ((1, 7), (2, 8)):
        wire.put(f'__join||{ack_id}||{{"room":"desks/{pk}"}}')
        await wire.text()
    return wire


LEFT = '{"code":"left","message":"The client left the room before the answer came."}'
REMOVED = '{"code":"removed","message":"The server took this connection out of the room."}'


async def test_a_client_that_leaves_the_room_ends_its_streams_there() -> None:
    ended: list[str] = []
    told = errors()
    endless(ended=[])
    wire = await in_desks(ended=ended)
    for frame in ("__in desks/7 count||3||a", "__in desks/8 count||4||b", "endless||5"):
        wire.put(frame)
        await frames(wire, 2)
    wire.put('__leave||6||{"room":"desks/7"}')
    assert await frames(wire, 2) == [f"__err___in desks/7 count||3||{LEFT}", "__ack___leave||6"]
    await until(lambda: ended == ["a"])
    assert sorted(running_numbers()) == [4, 5]
    wire.put("__stop___in desks/7 count||3")  # the client may not know yet
    wire.put("__ping||7")
    assert await wire.text() == "__ack___ping||7"
    assert told == []
    await wire.leave()


async def test_a_client_that_is_taken_out_of_the_room_gets_no_part_after_that() -> None:
    ended: list[str] = []
    wire = await in_desks(ended=ended)
    wire.put("__in desks/7 count||3||a")
    wire.put("__in desks/7 count||0||b")  # without an answer
    await frames(wire, 2)
    await rooms.aclear("desks/7")
    failure, left = await frames(wire, 2)
    assert failure == f"__err___in desks/7 count||3||{REMOVED}"
    assert left.startswith("__left||0||")
    await until(lambda: sorted(ended) == ["a", "b"])
    await wire.leave()


async def test_a_generator_that_takes_its_client_out_of_the_room_finishes_that() -> None:
    ended: list[str] = []
    wire = await in_desks(ended=ended)
    wire.put("__in desks/7 go||3")
    assert await wire.text() == "__part___in desks/7 go||3||going"
    assert await wire.text() == f"__err___in desks/7 go||3||{REMOVED}"
    assert (await wire.text()).startswith("__left||0||")
    await until(lambda: ended == ["left frozenset({'desks/8'})", "closed"])
    wire.put("__ping||7")
    assert await wire.text() == "__ack___ping||7"
    await wire.leave()


held_up: list[asyncio.Event] = []


async def hold_up(connection: Connection, event: Event, handle: Any) -> Any:
    result = await handle(connection, event)
    if event.name == "count":
        held_up.append(asyncio.Event())
        await held_up[-1].wait()
    return result


async def test_a_stream_does_not_begin_once_the_membership_has_ended(settings: Any) -> None:
    use(settings, __name__, "hold_up")
    ended: list[str] = []
    wire = await in_desks(ended=ended)
    wire.put("__in desks/7 count||3||a")
    await until(lambda: held_up)
    await rooms.aclear("desks/7")
    assert (await wire.text()).startswith("__left||0||")
    held_up.pop().set()
    assert await wire.text() == f"__err___in desks/7 count||3||{REMOVED}"
    assert ended == []
    await wire.leave()


def plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def inner(*args: Any) -> Any:
        return function(*args)

    return inner


class CountDown:
    async def __call__(self, connection: Connection, event: Event) -> AsyncIterator[Any]:
        yield 1


async def test_async_generators_of_all_kinds() -> None:
    async def count(connection: Connection, event: Event) -> AsyncIterator[Any]:
        yield 1

    etp_event("plain decorator")(plainly(count))
    etp_event("instance")(CountDown())
    wire = await opened(**V2)
    for name in ("plain decorator", "instance"):
        wire.put(f"{name}||1")
        assert await frames(wire, 2) == [f"__part_{name}||1||1", f"__ack_{name}||1"]
    await wire.leave()


# How it ends


async def test_a_client_stops_a_stream() -> None:
    ended: list[str] = []
    endless(ended=ended)
    told = errors()
    wire = await opened(**V2)
    wire.put("endless||7")
    await frames(wire, 2)
    wire.put("__stop_endless||8")  # of another number
    wire.put("endless||9")
    await frames(wire, 2)
    assert ended == []
    wire.put("__stop_endless||7")
    await until(lambda: ended == ["CancelledError", "finally"])
    wire.put("__ping||3")
    assert await wire.text() == "__ack___ping||3"
    assert running_numbers() == [9]
    await wire.leave()
    assert len(wire.sent) == 7  # the accept, the greeting, four parts and the ping
    assert told == []


async def test_a_stop_passes_the_queue_of_events(settings: Any) -> None:
    settings.ETP = {"MAX_CONCURRENT_EVENTS": 1}
    ended: list[str] = []
    endless(ended=ended)
    wire = await opened(**V2)
    wire.put("endless||1")
    await frames(wire, 2)
    wire.put("endless||2")
    wire.put("__stop_endless||1")
    assert await frames(wire, 2) == ["__part_endless||2||1", "__part_endless||2||2"]
    await wire.leave()


async def test_a_generator_that_waits_at_a_yield_is_closed_there() -> None:
    ended: list[str] = []
    writing = asyncio.Event()

    @etp_event("count")
    async def count(connection: Connection, event: Event) -> AsyncIterator[Any]:
        try:
            while True:
                yield "x"
        except GeneratorExit:
            ended.append("closed")
            raise

    async def blocked(message: Message) -> None:
        if "__part_" in message.get("text", ""):
            writing.set()
            await asyncio.Event().wait()

    wire = await Wire(on_send=blocked, **V2).open()
    await wire.text()
    wire.put("count||1")
    await writing.wait()
    wire.put("__stop_count||1")
    await until(lambda: ended == ["closed"])
    wire.vanish()
    await wire.ended()


@pytest.mark.parametrize("scope", [V2, *PLAIN])
async def test_the_end_of_the_connection_closes_the_generator_at_once(scope: dict[str, Any]) -> None:
    ended: list[str] = []
    endless(ended=ended)
    wire = await opened(**scope)
    wire.put("endless||1")
    await until(lambda: streams._running)
    wire.vanish()
    async with asyncio.timeout(4):  # far less than the setting DISCONNECT_GRACE
        await wire.ended()
    assert ended == ["CancelledError", "finally"]


@pytest.mark.parametrize("scope", [V2, *PLAIN])
async def test_a_handler_that_fails_in_the_middle_ends_the_stream_with_its_error(scope: dict[str, Any]) -> None:
    @etp_event("fail")
    async def fail(connection: Connection, event: Event) -> AsyncIterator[Any]:
        yield "a"
        raise EventFailed("no_more", "That is all.")

    told = errors()
    wire = await opened(**scope)
    wire.put("fail||1")
    if scope == V2:
        assert await wire.text() == "__part_fail||1||a"
    if scope:
        assert await wire.text() == '__err_fail||1||{"code":"no_more","message":"That is all."}'
    await until(lambda: told)
    await wire.leave()


async def test_a_generator_that_ignores_the_stop_is_closed_at_its_next_value() -> None:
    ended: list[str] = []

    @etp_event("stubborn")
    async def stubborn(connection: Connection, event: Event) -> AsyncIterator[Any]:
        try:
            yield 1
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ended.append("ignored")
            yield 2
        finally:
            ended.append("finally")

    wire = await opened(**V2)
    wire.put("stubborn||1")
    assert await wire.text() == "__part_stubborn||1||1"
    wire.put("__stop_stubborn||1")
    await until(lambda: ended == ["ignored", "finally"])
    await wire.leave()
    assert len(wire.sent) == 3


async def test_a_stop_is_no_event_of_a_client_without_streams() -> None:
    wire = await opened(subprotocols=["etp.ext.v1"])
    wire.put("__stop_count||1")
    assert '"code":"unknown_event"' in await wire.text()
    await wire.leave()


# Who holds whom up


async def test_a_slow_reader_holds_the_generator_up() -> None:
    made: list[int] = []

    @etp_event("flood")
    async def flood(connection: Connection, event: Event) -> AsyncIterator[Any]:
        for number in range(10_000):
            made.append(number)
            yield "x" * 1000

    go_on = asyncio.Event()

    async def slow(message: Message) -> None:
        if "__part_" in message.get("text", ""):
            await go_on.wait()

    wire = await Wire(on_send=slow, **V2).open()
    await wire.text()
    wire.put("flood||1")
    await until(lambda: made)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(made) < 1000
    go_on.set()
    await until(lambda: wire.sent[-1].get("text") == "__ack_flood||1")
    assert len(made) == 10_000
    await wire.leave()


async def test_a_generator_that_never_waits_lets_others_run() -> None:
    @etp_event("flood")
    async def flood(connection: Connection, event: Event) -> AsyncIterator[Any]:
        while True:
            yield "x"

    wire = await opened(**V2)
    wire.put("flood||1")
    await until(lambda: streams._running)
    wire.put("__stop_flood||1")
    await until(lambda: not streams._running)
    await wire.leave()


async def test_a_plain_client_cannot_gather_without_a_limit(settings: Any) -> None:
    settings.ETP = {"MAX_OUTBOX": 100_000}

    @etp_event("flood")
    async def flood(connection: Connection, event: Event) -> AsyncIterator[Any]:
        while True:
            yield "x" * 1000

    told = errors()
    wire = await opened(subprotocols=["etp.ext.v1"])
    wire.put("flood||1")
    assert '"code":"handler_error"' in await wire.text()
    assert "A streamed answer holds more than 100,000 characters" in str(told[0])
    await wire.leave()
