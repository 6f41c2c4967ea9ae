"""The drain of this process: what it refuses and closes, and when the server gets the signal."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from django_etp import Connection, Event, etp_event, on_connect, on_disconnect
from django_etp.consumers import EtpConsumer
from django_etp.draining import draining
from django_etp.server import drain, serving
from django_etp.server.drain import ProcessDrain
from django_etp.server.serving import Serving
from tests.support.frames import frame
from tests.support.inprocess import Message, Wire, until
from tests.support.transports import Link

pytestmark = pytest.mark.usefixtures("etp_registry", "both_ways")

CLOSE = {"type": "websocket.close", "code": 1012, "reason": '{"reconnect_in": 200}'}


@pytest.fixture(autouse=True)
def process(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProcessDrain]:
    """A drain of the test's own, in a process that a signal would end."""
    settings.ETP = {"DRAIN_SECONDS": 0.01}
    process = ProcessDrain()
    monkeypatch.setattr(drain, "process_drain", process)
    yield process
    process.forget()


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """The signals that reach the server."""
    told: list[int] = []
    before = {each: signal.signal(each, lambda signum, frame: told.append(signum)) for each in drain._SIGNALS}
    yield told
    for each, handler in before.items():
        signal.signal(each, handler)


async def terminate() -> None:
    """Send this process SIGTERM, and let its event loop turn."""
    signal.raise_signal(signal.SIGTERM)
    await asyncio.sleep(0)


# SIGTERM


async def test_the_server_hears_of_sigterm_when_all_connections_are_closed(signals: list[int]) -> None:
    wires = [await Wire().open() for _ in range(3)]
    await terminate()
    for wire in wires:
        assert await wire.next() == CLOSE
        assert signals == []
        wire.vanish(1012)
    await until(lambda: signals == [signal.SIGTERM])
    assert all(wire.task.done() for wire in wires)


async def test_a_process_without_connections_ends_at_once(signals: list[int]) -> None:
    async with Wire():
        pass
    await terminate()
    await until(lambda: signals == [signal.SIGTERM], timeout=1)


async def test_without_the_setting_the_server_has_its_signals(signals: list[int], settings: Any) -> None:
    settings.ETP = {"DRAIN_SECONDS": 0}
    async with Wire():
        await terminate()
        assert signals == [signal.SIGTERM]
        assert not draining.has_begun


async def test_the_closes_are_spread_over_the_time_of_the_setting(signals: list[int], settings: Any) -> None:
    settings.ETP = {"DRAIN_SECONDS": 0.4}
    closed_at: list[float] = []

    async def note(message: Message) -> None:
        if message["type"] == "websocket.close":
            closed_at.append(asyncio.get_running_loop().time())

    wires = [await Wire(on_send=note).open() for _ in range(4)]
    begun_at = asyncio.get_running_loop().time()
    await terminate()
    await until(lambda: len(closed_at) == 4)
    for number, at in enumerate(closed_at):
        assert number * 0.1 <= at - begun_at < number * 0.1 + 0.35
    for wire in wires:
        await wire.leave(1012)


async def test_a_second_sigterm_reaches_the_server_at_once(signals: list[int]) -> None:
    async with Wire():
        await terminate()
        assert signals == []
        await terminate()
        assert signals == [signal.SIGTERM]
        await terminate()
        assert signals == [signal.SIGTERM] * 2


async def test_under_a_supervisor_a_second_sigterm_counts_for_the_first(
    signals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gunicorn.arbiter", sys)
    async with Wire():
        await terminate()
        await terminate()
        assert signals == []
    await until(lambda: signals == [signal.SIGTERM])


async def test_a_drain_that_fails_does_not_keep_the_server_from_its_end(
    signals: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: Serving, seconds: float) -> None:
        raise LookupError

    monkeypatch.setattr(Serving, "drain", fail)
    async with Wire():
        await terminate()
        await until(lambda: signals == [signal.SIGTERM])
    assert "The drain failed" in caplog.text


def test_after_the_end_of_the_event_loop_sigterm_is_as_before(signals: list[int]) -> None:
    async def serve() -> None:
        async with Wire():
            pass

    asyncio.run(serve())
    signal.raise_signal(signal.SIGTERM)
    assert signals == [signal.SIGTERM]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 warns of a fork with threads
async def test_a_forked_child_has_no_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that a handler starts by multiprocessing ends when it is terminated."""
    process = drain.ProcessDrain()
    os.register_at_fork(after_in_child=process.forget)
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    monkeypatch.setattr(drain, "process_drain", process)
    try:
        async with Wire():
            child = os.fork()
            if child == 0:
                signal.raise_signal(signal.SIGTERM)
                os._exit(0)
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            assert os.WTERMSIG(status) == signal.SIGTERM
    finally:
        process.forget()
        signal.signal(signal.SIGTERM, before)


async def test_sigint_reaches_the_server_at_once(signals: list[int]) -> None:
    async with Wire():
        signal.raise_signal(signal.SIGINT)
        assert signals == [signal.SIGINT]
        assert not draining.has_begun
    async with Wire():  # the server ends: nothing is installed again
        signal.raise_signal(signal.SIGTERM)
        assert signals == [signal.SIGINT, signal.SIGTERM]


async def test_sigterm_after_a_drain_reaches_the_server_at_once(signals: list[int], process: ProcessDrain) -> None:
    async with Wire() as wire:
        process.begin()
        assert await wire.next() == CLOSE
    await until(lambda: process._task is not None and process._task.done())
    assert signals == []
    await terminate()
    assert signals == [signal.SIGTERM]


async def test_a_server_in_another_thread_keeps_its_signals(signals: list[int], process: ProcessDrain) -> None:
    """As runserver does."""
    handlers = [signal.getsignal(each) for each in drain._SIGNALS]

    async def serve() -> None:
        async with Wire() as wire:
            process.begin()
            assert await wire.next() == CLOSE

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    await asyncio.to_thread(thread.join, 10)
    assert [signal.getsignal(each) for each in drain._SIGNALS] == handlers


async def test_connections_of_two_event_loops_are_closed(signals: list[int], process: ProcessDrain) -> None:
    is_open, closed = threading.Event(), threading.Event()

    async def serve() -> None:
        async with Wire() as wire:
            is_open.set()
            assert await wire.next() == CLOSE
            closed.set()

    async with Wire() as wire:
        thread = threading.Thread(target=asyncio.run, args=[serve()])
        thread.start()
        await asyncio.to_thread(is_open.wait, 10)
        await terminate()
        assert await wire.next() == CLOSE
        assert await asyncio.to_thread(closed.wait, 10)
    await asyncio.to_thread(thread.join, 10)
    await until(lambda: signals == [signal.SIGTERM])


# A server that ends by itself


async def test_a_server_that_ends_by_itself_leaves_the_closes_to_the_drain(process: ProcessDrain) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> str:
        begun.set()
        await goes_on.wait()
        return "done"

    link = await Link(EtpConsumer.as_asgi()).open()
    link.send_text("work||1")
    await begun.wait()
    link.protocol.shutdown()
    assert draining.has_begun
    goes_on.set()
    await link.until(lambda: len(link.frames) == 2)
    (_, answer), (_, close) = link.frames
    assert (answer, close[2:]) == (b"__ack_work||1||done", CLOSE["reason"].encode())
    link.send(frame(8, close[:2]))
    await link.ended()
    assert process._task is not None
    await process._task


async def test_it_closes_connections_of_other_applications_itself(process: ProcessDrain) -> None:
    async with Wire():
        assert draining.closes is not None
        assert not draining.closes(object())


async def test_after_sigint_it_closes_all_itself(signals: list[int]) -> None:
    link = await Link(EtpConsumer.as_asgi()).open()
    signal.raise_signal(signal.SIGINT)
    link.protocol.shutdown()
    assert link.frames == [(0x88, b"\x03\xf4")]
    await link.ended()
    assert not draining.has_begun


# Handlers and handshakes


async def test_answers_of_running_handlers_go_out_before_the_close(process: ProcessDrain) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> str:
        begun.set()
        await goes_on.wait()
        return "done"

    async with Wire() as wire:
        wire.put("work||1")
        await begun.wait()
        process.begin()
        await asyncio.sleep(0.05)
        assert len(wire.sent) == 1  # the accept
        goes_on.set()
        assert await wire.text() == "__ack_work||1||done"
        assert await wire.next() == CLOSE


async def test_a_handler_holds_the_close_up_for_the_time_of_a_setting(process: ProcessDrain, settings: Any) -> None:
    settings.ETP = {"DRAIN_SECONDS": 0.01, "DISCONNECT_GRACE": 0.05}
    begun = asyncio.Event()

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with Wire() as wire:
        wire.put("work||1")
        await begun.wait()
        process.begin()
        assert await wire.next(timeout=2) == CLOSE


async def test_events_that_come_while_a_handler_holds_the_close_up_are_answered(process: ProcessDrain) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    @etp_event("work")
    async def work(connection: Connection, event: Event) -> None:
        begun.set()
        await goes_on.wait()

    @etp_event("quick")
    async def quick(connection: Connection, event: Event) -> str:
        return "at once"

    async with Wire() as wire:
        wire.put("work||1")
        await begun.wait()
        process.begin()
        await asyncio.sleep(0.05)
        wire.put("quick||2")
        assert await wire.text() == "__ack_quick||2||at once"
        goes_on.set()
        assert [await wire.text(), await wire.next()] == ["__ack_work||1", CLOSE]


async def test_new_handshakes_are_refused_with_503(process: ProcessDrain) -> None:
    connected: list[Connection] = []
    on_connect(connected.append)
    draining.has_begun = True
    wire = Wire(extensions={"websocket.http.response": {}}).start()
    response = await wire.next()
    assert (response["type"], response["status"]) == ("websocket.http.response.start", 503)
    await wire.ended()
    assert connected == []


async def test_a_handshake_that_has_begun_is_accepted_and_closed(process: ProcessDrain) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()
    ended: list[int] = []

    @on_connect
    async def hold_on(connection: Connection) -> None:
        begun.set()
        await goes_on.wait()

    @on_disconnect
    async def gone(connection: Connection, disconnect: Any) -> None:
        ended.append(disconnect.code)

    wire = Wire().start()
    await begun.wait()
    process.begin()
    await asyncio.sleep(0.05)
    assert wire.sent == []
    goes_on.set()
    assert (await wire.next())["type"] == "websocket.accept"
    assert await wire.next() == CLOSE
    await wire.leave(1012)
    assert ended == [1012]


async def test_a_client_that_does_not_answer_the_close_holds_up_the_end_for_seconds(
    signals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django_etp.server.lifecycle._CLOSE_WAIT", 0.05)
    wire = await Wire().open()
    await terminate()
    assert await wire.next() == CLOSE
    await until(lambda: signals == [signal.SIGTERM], timeout=2)
    await asyncio.wait([wire.task], timeout=1)


async def test_a_connection_that_never_ends_holds_up_the_end_for_a_limited_time(
    signals: list[int], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ETP = {"DRAIN_SECONDS": 0.01, "DISCONNECT_GRACE": 0.05}
    monkeypatch.setattr(serving, "_END_LIMIT", 0.05)
    goes_on = asyncio.Event()

    @on_disconnect
    async def hold_on(connection: Connection, disconnect: Any) -> None:
        await goes_on.wait()

    wire = await Wire().open()
    await terminate()
    assert await wire.next() == CLOSE
    wire.vanish(1012)
    await until(lambda: signals == [signal.SIGTERM], timeout=2)
    goes_on.set()
    await wire.ended()
