"""What waits between the channel layer and those who take it: in order, and without holding up the reading."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from django_etp.cluster import reader
from django_etp.cluster.messages import Frame, Malformed, Message, RoomMessage, pack
from django_etp.cluster.reader import Backlog, read_channel
from tests.support.inprocess import until


def message(number: int, frame: Any = "news||0") -> RoomMessage:
    return RoomMessage("g", "s.1", 1.5, number, number - 1, [frame])


@asynccontextmanager
async def giving(take: Callable[[Message], None]) -> AsyncIterator[Backlog]:
    backlog = Backlog(take)
    task = asyncio.create_task(backlog.give())
    yield backlog
    task.cancel()


class Layer:
    """A layer of which each receive is the next of these calls; the last lasts for ever."""

    def __init__(self, *receives: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        self.receives = [*receives, asyncio.Event().wait]

    async def receive(self, channel: str) -> Any:
        return await self.receives.pop(0)()


async def come() -> dict[str, Any]:
    return pack(message(1))


async def wait_in_vain() -> dict[str, Any]:
    await asyncio.sleep(0.6)
    raise TimeoutError


async def fail() -> dict[str, Any]:
    raise OSError("the broker is away")


async def time_out_at_once() -> dict[str, Any]:
    raise TimeoutError


@asynccontextmanager
async def reading(
    *receives: Callable[[], Awaitable[dict[str, Any]]],
) -> AsyncIterator[tuple[list[Message], list[None]]]:
    """Read a layer; give the list of what was taken, and one with an entry for each failure."""
    taken: list[Message] = []
    failures: list[None] = []
    task = asyncio.create_task(read_channel(Layer(*receives), "c", taken.append, lambda: failures.append(None)))
    yield taken, failures
    task.cancel()


async def test_a_receive_that_waited_in_vain_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """So redis-py ends each receive that takes as long as its socket_timeout."""
    async with reading(wait_in_vain, come) as (taken, failures):
        await until(lambda: taken)
    assert (failures, caplog.messages) == ([], [])


@pytest.mark.parametrize("failing", [fail, time_out_at_once])
async def test_a_layer_that_fails_is_read_again_and_the_log_tells_of_it_once(
    failing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    started = time.monotonic()
    async with reading(failing, failing, failing, come) as (taken, failures):
        await until(lambda: taken)
    assert len(failures) == 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert time.monotonic() - started > 0.3  # the pauses grow


class InvalidToken(Exception):
    """What cryptography raises where the key does not fit."""


@pytest.mark.parametrize("error", [ValueError, KeyError, TypeError, InvalidToken])
async def test_what_the_layer_cannot_decode_is_ignored_and_holds_up_nothing(
    error: type[Exception], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_complained_of", set())

    async def fail_to_decode() -> dict[str, Any]:
        raise error("\xff\xfe")

    started = time.monotonic()
    async with reading(*[fail_to_decode] * 100, come) as (taken, failures):
        await until(lambda: taken)
    assert time.monotonic() - started < 5  # as failures of the layer they would take 96 s
    assert failures == []
    (complaint,) = caplog.messages
    assert f"it cannot be decoded: {error.__name__}" in complaint


async def test_a_layer_that_fails_at_its_tls_certificate_is_read_again_after_a_pause() -> None:
    """It is a ValueError too, and no message's fault."""

    async def fail_at_certificate() -> dict[str, Any]:
        raise ssl.SSLCertVerificationError("expired")

    async with reading(fail_at_certificate, come) as (taken, failures):
        await until(lambda: taken)
    assert len(failures) == 1


async def test_complaints_without_end_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_complained_of", set())
    for number in range(1000):
        reader.complain(Malformed(f"{number} is odd"))
        reader.complain(Malformed(f"{number} is odd"))
    assert len(caplog.messages) == len(set(caplog.messages)) == 100


def slowly(given: list[Message], seconds: float) -> Callable[[Message], None]:
    """Return a function that takes so long to take a message."""

    def take(message: Message) -> None:
        time.sleep(seconds)
        given.append(message)

    return take


async def test_messages_are_given_in_the_order_in_which_they_came() -> None:
    given: list[Any] = []
    async with giving(given.append) as backlog:
        for number in range(1, 101):
            backlog.put(message(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(given) == 100)
    assert [each.number for each in given] == list(range(1, 101))


async def test_reading_goes_on_while_giving_is_slow() -> None:
    """Else what a layer has no more room or time for is lost while a process is busy."""
    given: list[Message] = []
    async with giving(slowly(given, 0.01)) as backlog:
        for number in range(1, 201):
            for _ in range(5):  # as many turns as a receive takes that has round trips to make
                await asyncio.sleep(0)
            backlog.put(message(number))
        assert len(given) < 150
        await until(lambda: len(given) == 200)


async def test_giving_goes_on_while_messages_come_without_end() -> None:
    given: list[Message] = []
    async with giving(given.append) as backlog, asyncio.timeout(20):
        number = 0
        while len(given) < 1000:
            number += 1
            backlog.put(message(number))
            await asyncio.sleep(0)


async def test_while_much_is_given_others_have_their_turns() -> None:
    given: list[Message] = []
    async with giving(slowly(given, 0.001)) as backlog:
        for number in range(1, 101):
            backlog.put(message(number))
        turns = 0
        while len(given) < 100:
            turns += 1
            await asyncio.sleep(0)
    assert turns > 10


@pytest.mark.parametrize(
    "to",
    [{}, {"exclude": frozenset(["a.1"])}, {"rooms": ("a", "b"), "emission": "e"}, {"connection_id": "a.1"}],
    ids=repr,
)
async def test_past_its_limit_reading_keeps_the_pace_of_giving(
    monkeypatch: pytest.MonkeyPatch, to: dict[str, Any]
) -> None:
    monkeypatch.setattr(reader, "_MAX_WAITING", 100)
    given: list[Any] = []
    backlog = Backlog(given.append)
    for number in range(1, 6):
        backlog.put(message(number, Frame("x" * 40, **to).to_plain()))
    assert [each.number for each in given] == [1, 2, 3]


@pytest.mark.parametrize("frame", [[], (), [7], [None, "x" * 40], [["x" * 40]], {"x": 1}, None], ids=repr)
async def test_what_is_no_frame_counts_little(monkeypatch: pytest.MonkeyPatch, frame: Any) -> None:
    monkeypatch.setattr(reader, "_MAX_WAITING", 10)
    given: list[Any] = []
    backlog = Backlog(given.append)
    for number in range(1, 11):
        backlog.put(message(number, frame))
    assert given == []


async def test_one_that_cannot_be_taken_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    given: list[Any] = []
    errors = {1: Malformed("it is odd indeed"), 2: ZeroDivisionError("oh")}

    def take(message: RoomMessage) -> None:
        if error := errors.get(message.number):
            raise error
        given.append(message)

    async with giving(take) as backlog:  # type: ignore[arg-type]
        for number in (1, 2, 3):
            backlog.put(message(number))
        await until(lambda: given)
    assert "it is odd indeed" in caplog.text
    assert "could not be handled" in caplog.text


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "bad",
    [
        {"stream": nested(3000)},
        {"born": 10**400},
        {"number": 10**5000},
        {"frames": {"x": nested(3000)}},
        {"v": nested(3000)},
        {"type": nested(3000)},
        {"type": 10**5000},
    ],
    ids=lambda bad: "".join(bad),
)
async def test_no_message_ends_the_reading(
    bad: dict[str, Any], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_complained_of", set())

    async def come_bad() -> dict[str, Any]:
        return {**pack(message(1)), **bad}

    async with reading(come_bad, come_bad, come) as (taken, failures):
        await until(lambda: taken)
    assert failures == []
    (complaint,) = caplog.messages
    assert len(complaint) < 400


@pytest.mark.parametrize("error", [RecursionError, OverflowError, MemoryError])
async def test_a_message_that_is_too_deep_or_too_large_to_be_decoded_is_ignored(error: type[Exception]) -> None:
    async def fail_to_decode() -> dict[str, Any]:
        raise error

    async with reading(fail_to_decode, come) as (taken, failures):
        await until(lambda: taken)
    assert failures == []


async def test_the_cancellation_of_a_task_inside_the_layer_is_a_failure_of_the_layer() -> None:
    async def meet_a_cancellation() -> dict[str, Any]:
        raise asyncio.CancelledError

    async with reading(meet_a_cancellation, come) as (taken, failures):
        await until(lambda: taken)
    assert len(failures) == 1


async def test_messages_that_cannot_be_handled_are_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_complained_of", set())

    def refuse(message: Message) -> None:
        raise ZeroDivisionError("oh")

    async with giving(refuse) as backlog:
        for number in range(1, 100):
            backlog.put(message(number))
        await until(lambda: "could not be handled" in caplog.text)
    (record,) = caplog.records
    assert record.exc_info


class Panic(BaseException):
    """What an extension in Rust raises."""


@pytest.mark.parametrize("end", [None, Panic("oh"), asyncio.CancelledError(), RecursionError()], ids=repr)
async def test_work_that_ends_is_started_again(end: BaseException | None, caplog: pytest.LogCaptureFixture) -> None:
    starts: list[None] = []

    async def work() -> None:
        starts.append(None)
        if len(starts) == 3:
            await asyncio.Event().wait()
        if end is not None:
            raise end

    running = asyncio.create_task(reader.keep_running(work))
    await until(lambda: len(starts) == 3)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()
