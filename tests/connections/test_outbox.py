"""The outbox of one connection: order, bounds, the close, and a write that fails or is cancelled."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from autobahn.exception import Disconnected
from django.test import override_settings

from django_etp.concurrency.flusher import Flusher
from django_etp.connections import outbox as outbox_module
from django_etp.connections.outbox import Outbox
from django_etp.connections.state import CLOSED, CONNECTING
from tests.support.inprocess import until

Message = dict[str, Any]


class Server:
    """The server's side of `send`: it keeps what it is sent and, while it is held up, takes nothing."""

    def __init__(self, refuse: Callable[[Message], bool] = lambda message: False) -> None:
        self.messages: list[Message] = []
        self.tries = 0
        self.takes = asyncio.Event()
        self.takes.set()
        self.refuse = refuse
        self.error: Exception = OSError("the server refused this")

    async def send(self, message: Message) -> None:
        self.tries += 1
        await self.takes.wait()
        if self.refuse(message):
            raise self.error
        self.messages.append(message)

    @property
    def frames(self) -> list[str]:
        return [message["text"] for message in self.messages if message["type"] == "websocket.send"]

    @property
    def types(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.messages]


class CallingServer(Server):
    """A server with the extension django_etp.direct, whose client may be behind."""

    is_behind = False

    def offer(self, text: str) -> bool:
        if not self.is_behind:
            self.messages.append({"type": "websocket.send", "text": text})
        return not self.is_behind

    def receive_by(self, take: Any) -> Any:
        raise NotImplementedError


def never_slow(facts: str) -> None:
    pytest.fail(f"the client {facts}")


def never_failed(error: Exception) -> None:
    pytest.fail("a write failed")


def outbox_to(
    send: Callable[[Message], Awaitable[None]],
    on_slow: Callable[[str], None] = never_slow,
    on_failure: Callable[[Exception], None] = never_failed,
) -> Outbox:
    """Return an outbox, before the accept; it uses calls if `send` is a method of a CallingServer."""
    owner = SimpleNamespace(reads_too_slowly=on_slow, write_failed=on_failure)
    server = getattr(send, "__self__", None)
    flusher = Flusher(asyncio.get_running_loop(), contextvars.copy_context())
    return Outbox(send, owner, flusher, server if isinstance(server, CallingServer) else None)


async def open_outbox(
    server: Server, on_slow: Callable[[str], None] = never_slow, on_failure: Callable[[Exception], None] = never_failed
) -> Outbox:
    outbox = outbox_to(server.send, on_slow, on_failure)
    await outbox.accept()
    server.messages.clear()
    server.tries = 0
    return outbox


async def send(outbox: Outbox, frame: str) -> None:
    """Write a frame and wait for as long as its sender is to wait."""
    if (writing := outbox.begin(frame)) is not None:
        await writing


async def test_the_accept_carries_the_subprotocol() -> None:
    server = Server()
    await outbox_to(server.send).accept("etp.ext.v1")
    assert server.messages == [{"type": "websocket.accept", "subprotocol": "etp.ext.v1"}]


async def test_frames_go_out_in_order() -> None:
    server = Server()
    outbox = await open_outbox(server)
    for number in range(1000):
        outbox.write(str(number))
    await until(lambda: len(server.frames) == 1000)
    assert server.frames == [str(number) for number in range(1000)]


async def test_frames_of_both_ways_of_writing_go_out_in_order() -> None:
    server = Server()
    outbox = await open_outbox(server)
    for number in range(0, 1000, 2):
        outbox.write(str(number))
        await send(outbox, str(number + 1))
    await until(lambda: len(server.frames) == 1000)
    assert server.frames == [str(number) for number in range(1000)]


async def test_frames_of_many_senders_at_once_keep_the_order_of_each() -> None:
    server = Server()
    outbox = await open_outbox(server)

    async def sender(name: int) -> None:
        for number in range(100):
            await send(outbox, f"{name} {number}")

    await asyncio.gather(*(sender(name) for name in range(10)))
    await until(lambda: len(server.frames) == 1000)
    for name in range(10):
        assert [frame for frame in server.frames if frame.startswith(f"{name} ")] == [f"{name} {n}" for n in range(100)]


async def test_frames_wait_until_the_accept_and_go_out_behind_it() -> None:
    server = Server()
    outbox = outbox_to(server.send)
    outbox.write("first")
    await send(outbox, "second")
    assert server.messages == []
    await outbox.accept()
    await until(lambda: len(server.messages) == 3)
    assert server.types == ["accept", "send", "send"]
    assert server.frames == ["first", "second"]


async def test_frames_of_a_refused_connection_are_dropped() -> None:
    server = Server()
    outbox = outbox_to(server.send)
    outbox.write("news")
    outbox.close(4403, "")
    await outbox.closed()
    assert server.types == ["close"]


async def test_writing_never_waits_for_the_reader() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    for number in range(1000):
        outbox.write(str(number))
    await asyncio.sleep(0)
    assert server.tries == 1
    server.takes.set()
    await until(lambda: len(server.frames) == 1000)


async def test_a_sender_waits_while_its_reader_is_far_behind() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    sent = 0

    async def sender() -> None:
        nonlocal sent
        for number in range(1000):
            await send(outbox, str(number))
            sent = number + 1

    sending = asyncio.create_task(sender())
    outbox.write("before")
    await until(lambda: sent > 0)
    await asyncio.sleep(0)
    assert sent < 300
    server.takes.set()
    await sending
    await until(lambda: len(server.frames) == 1001)


async def test_a_waiting_sender_goes_on_when_the_connection_ends() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("stuck")

    async def sender() -> None:
        for number in range(1000):
            await send(outbox, str(number))

    sending = asyncio.create_task(sender())
    await asyncio.sleep(0)
    outbox.abandon()
    async with asyncio.timeout(1):
        await sending


async def test_a_sender_waits_in_bytes_too() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("before")
    await asyncio.sleep(0)
    sending = [asyncio.create_task(send(outbox, "x" * 300_000)) for _ in range(5)]
    await asyncio.sleep(0)
    assert [task.done() for task in sending] == [True, True, True, False, False]  # 1 MiB may wait
    server.takes.set()
    await asyncio.gather(*sending)
    await until(lambda: len(server.frames) == 6)


async def test_bytes_are_counted_not_characters() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("before")
    await asyncio.sleep(0)
    sending = asyncio.create_task(send(outbox, "\U0001f600" * 300_000))
    await asyncio.sleep(0)
    assert not sending.done()
    server.takes.set()
    await sending
    await until(lambda: len(server.frames) == 2)
    assert outbox.taken == 6 + 1_200_000


@override_settings(ETP={"MAX_OUTBOX": 1000, "SLOW_CLIENT_TIMEOUT": 0.2})
async def test_a_client_that_takes_all_is_never_closed() -> None:
    server = Server()
    outbox = await open_outbox(server)
    for _ in range(200):
        outbox.write("x" * 500)
        if not server.takes.is_set():
            server.takes.set()
        await asyncio.sleep(0.002)
        server.takes.clear()
    server.takes.set()
    await until(lambda: len(server.frames) == 200)


@override_settings(ETP={"MAX_OUTBOX": 1000, "SLOW_CLIENT_TIMEOUT": 0.4})
@pytest.mark.parametrize("frames", [1, 20], ids=["little waits", "much waits"])
async def test_a_client_that_takes_nothing_is_closed(frames: int) -> None:
    facts = list[str]()
    server = Server()
    outbox = await open_outbox(server, facts.append)
    server.takes.clear()
    began_at = asyncio.get_running_loop().time()
    for _ in range(frames):
        outbox.write("x" * 100)
    await until(lambda: facts)
    took = asyncio.get_running_loop().time() - began_at
    assert facts[0].endswith(f"and {frames * 100:,} bytes wait")
    assert took >= 0.4  # this server does not show its buffer
    outbox.abandon()


@override_settings(ETP={"SLOW_CLIENT_TIMEOUT": 0.1})
async def test_a_client_that_takes_no_answer_is_closed() -> None:
    facts = list[str]()
    server = Server()
    outbox = await open_outbox(server, facts.append)
    server.takes.clear()
    sending = asyncio.create_task(send(outbox, "the only one"))
    await until(lambda: facts)
    assert facts[0].endswith("and 12 bytes wait")
    server.takes.set()
    await sending


@override_settings(ETP={"MAX_OUTBOX": 1000})
@pytest.mark.parametrize("size", [0, 100])
async def test_the_last_bound_is_16_times_the_first(size: int) -> None:
    facts = list[str]()
    server = Server()
    outbox = await open_outbox(server, facts.append)
    server.takes.clear()
    bound = 16_000 // size if size else 16 * 65_536
    outbox.write("")
    await asyncio.sleep(0)
    for _ in range(bound):
        outbox.write("x" * size)
    assert not facts
    outbox.write("x" * size)
    assert facts == ["lets more than 16,000 bytes or 1,048,576 frames wait"]
    outbox.abandon()


async def test_one_frame_larger_than_the_outbox_goes_out() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("small")
    await asyncio.sleep(0)
    outbox.write("x" * (17 * 1024 * 1024))
    server.takes.set()
    await until(lambda: len(server.frames) == 2)


@override_settings(ETP={"MAX_OUTBOX": 1000})
async def test_before_the_accept_the_bound_is_the_first() -> None:
    facts = list[str]()
    outbox = outbox_to(Server().send, facts.append)
    for _ in range(10):
        outbox.write("x" * 100)
    assert not facts
    outbox.write("x")
    assert facts == ["lets more than 1,000 bytes or 65,536 frames wait"]


async def test_the_data_in_the_servers_buffer_is_not_taken_yet() -> None:
    class Protocol:
        transport = SimpleNamespace(abort=lambda: None, get_write_buffer_size=lambda: 3)

        async def send(self, message: Message) -> None:
            pass

    outbox = outbox_to(Protocol().send)
    await outbox.accept()
    await send(outbox, "hello")
    assert outbox.takes_parts
    assert outbox.taken == 2


async def test_a_close_goes_out_behind_what_waits() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("first")
    outbox.write("second")
    outbox.close(4000, "enough")
    server.takes.set()
    await outbox.closed()
    assert server.types == ["send", "send", "close"]
    assert server.messages[-1] == {"type": "websocket.close", "code": 4000, "reason": "enough"}


async def test_a_close_in_place_of_what_waits_goes_out_behind_the_write_under_way() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("under way")
    await asyncio.sleep(0)
    outbox.write("dropped")
    outbox.close(1013, "reads too slowly", drop=True)
    server.takes.set()
    await outbox.closed()
    assert server.frames == ["under way"]
    assert server.types == ["send", "close"]


async def test_nothing_follows_a_close() -> None:
    server = Server()
    outbox = await open_outbox(server)
    outbox.close(1000, "")
    outbox.write("late")
    await send(outbox, "later")
    await outbox.closed()
    assert server.types == ["close"]


async def test_the_second_close_is_none() -> None:
    server = Server()
    outbox = await open_outbox(server)
    outbox.close(1000, "first")
    outbox.close(1001, "second")
    await outbox.closed()
    assert [message["reason"] for message in server.messages] == ["first"]


async def test_a_close_while_the_accept_is_under_way_goes_out_behind_it() -> None:
    server = Server()
    server.takes.clear()
    outbox = outbox_to(server.send)
    accepting = asyncio.create_task(outbox.accept())
    await asyncio.sleep(0)
    outbox.close(4001, "")
    await asyncio.sleep(0)
    assert server.tries == 1
    server.takes.set()
    await accepting
    await outbox.closed()
    assert server.types == ["accept", "close"]


async def test_a_peer_that_vanishes_while_the_accept_is_under_way_is_sent_nothing_more() -> None:
    server = Server()
    server.takes.clear()
    outbox = outbox_to(server.send)
    accepting = asyncio.create_task(outbox.accept())
    await asyncio.sleep(0)
    outbox.abandon()
    server.takes.set()
    await accepting
    outbox.write("news")
    assert outbox.state is CLOSED
    assert server.types == ["accept"]


async def test_an_accept_that_fails_is_raised() -> None:
    server = Server(lambda message: True)
    outbox = outbox_to(server.send)
    with pytest.raises(OSError, match="refused"):
        await outbox.accept()
    assert outbox.state is CONNECTING


@pytest.mark.parametrize("code", [1001, 1008, 1009, 1011, 1013])
async def test_a_code_that_the_server_refuses_goes_out_plus_3000(code: int) -> None:
    server = Server(lambda message: message["type"] == "websocket.close" and 1000 < message["code"] < 3000)
    outbox = await open_outbox(server)
    outbox.write("last words")
    outbox.close(code, "why")
    await outbox.closed()
    assert server.frames == ["last words"]
    assert server.messages[-1] == {"type": "websocket.close", "code": code + 3000, "reason": "why"}


@pytest.mark.parametrize("code", [1000, 4000])
async def test_a_close_that_fails_with_a_code_that_servers_take_is_not_tried_again(code: int) -> None:
    server = Server(lambda message: message["type"] == "websocket.close")
    outbox = await open_outbox(server)
    outbox.close(code, "")
    await outbox.closed()
    assert server.tries == 1


async def test_a_server_that_refuses_every_close_holds_nobody_up() -> None:
    server = Server(lambda message: message["type"] == "websocket.close")
    outbox = await open_outbox(server)
    outbox.close(1011, "")
    async with asyncio.timeout(1):
        await outbox.closed()
    assert server.tries == 2


async def test_a_reader_that_takes_nothing_holds_up_its_close_for_a_while_only(monkeypatch: Any) -> None:
    monkeypatch.setattr(outbox_module, "_CLOSE_LIMIT", 0.05)
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("stuck")
    outbox.close(1000, "")
    async with asyncio.timeout(2):
        await outbox.closed()
    await until(lambda: len(asyncio.all_tasks()) == 1)  # the write that was stuck has ended, too


@pytest.mark.parametrize("reads", [True, False])
async def test_a_close_aborts_the_socket_of_a_client_that_reads_nothing(monkeypatch: Any, reads: bool) -> None:
    monkeypatch.setattr(outbox_module, "_CLOSE_LIMIT", 0.1)
    aborted = list[bool]()
    unsent = iter(range(8_000_000, 0, -1000))

    class Protocol:
        transport = SimpleNamespace(
            abort=lambda: aborted.append(True), get_write_buffer_size=lambda: next(unsent) if reads else 8_000_000
        )
        takes = asyncio.Event()

        async def send(self, message: Message) -> None:
            if message["type"] == "websocket.close":
                await self.takes.wait()  # for the buffer to empty

    outbox = outbox_to(Protocol().send)
    await outbox.accept()
    await send(outbox, "x" * 8_000_000)
    outbox.close(1000, "")
    await outbox.closed()
    await until(lambda: len(asyncio.all_tasks()) == 1)
    assert bool(aborted) is not reads


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_frame_that_the_server_refuses_closes_the_connection_with_1011(is_direct: bool) -> None:
    server, failures = Server(lambda message: message.get("text") == "bad"), list[Exception]()
    outbox = await open_outbox(server, on_failure=failures.append)
    if is_direct:
        await send(outbox, "bad")
    else:
        for frame in ("good", "bad", "after"):
            outbox.write(frame)
    await until(lambda: outbox.state is CLOSED)
    await send(outbox, "even later")
    assert server.frames == ([] if is_direct else ["good"])
    assert (server.messages[-1]["type"], server.messages[-1]["code"]) == ("websocket.close", 1011)
    assert [str(failure) for failure in failures] == ["the server refused this"]
    assert outbox.state is CLOSED


async def test_a_close_that_waits_behind_a_frame_that_the_server_refuses_goes_out() -> None:
    server = Server(lambda message: message.get("text") == "bad")
    outbox = await open_outbox(server)
    outbox.write("bad")
    outbox.close(4001, "bye")
    await outbox.closed()
    assert server.messages == [{"type": "websocket.close", "code": 4001, "reason": "bye"}]


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_write_that_fails_because_the_peer_is_gone_is_not_reported(is_direct: bool) -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.refuse = lambda message: True
    if is_direct:
        await send(outbox, "bad")
    else:
        outbox.write("bad")
    await until(lambda: outbox.state is CLOSED)
    assert server.messages == []


async def test_a_write_to_a_client_that_daphne_has_lost_is_not_reported() -> None:
    server, failures = Server(), list[Exception]()
    outbox = await open_outbox(server, on_failure=failures.append)
    server.refuse = lambda message: message["type"] == "websocket.send"
    server.error = Disconnected("Attempt to send on a closed protocol")
    outbox.write("a part")
    await until(lambda: outbox.state is CLOSED)
    assert server.types == ["close"]
    assert failures == []


async def test_a_sender_cancelled_in_mid_write_loses_nobody_elses_frame() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    cancelled = asyncio.create_task(send(outbox, "cancelled"))
    await until(lambda: server.tries == 1)
    others = [asyncio.create_task(send(outbox, f"other {number}")) for number in range(3)]
    outbox.write("from a room")
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    server.takes.set()
    await asyncio.gather(*others)
    await until(lambda: len(server.frames) == 4)
    assert sorted(server.frames) == ["from a room", "other 0", "other 1", "other 2"]


async def test_a_sender_cancelled_while_it_waits_for_the_reader_loses_nothing() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    outbox.write("under way")
    for number in range(300):
        outbox.write(str(number))
    waiting = [asyncio.create_task(send(outbox, f"sent {number}")) for number in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert not waiting[1].done()
    server.takes.set()
    await waiting[1]
    await until(lambda: len(server.frames) == 303)


async def test_a_sender_cancelled_in_mid_write_does_not_hold_up_the_close() -> None:
    server = Server()
    outbox = await open_outbox(server)
    server.takes.clear()
    cancelled = asyncio.create_task(send(outbox, "cancelled"))
    await until(lambda: server.tries == 1)
    outbox.close(1000, "")
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    server.takes.set()
    await outbox.closed()
    assert server.types == ["close"]


async def test_no_task_is_left_once_all_is_written() -> None:
    before = asyncio.all_tasks()
    server = Server()
    outbox = await open_outbox(server)
    for number in range(100):
        outbox.write(str(number))
    outbox.close(1000, "")
    await outbox.closed()
    await until(lambda: asyncio.all_tasks() == before)


async def test_a_server_that_offers_calls_gets_frames_at_once() -> None:
    outbox = await open_outbox(server := CallingServer())
    outbox.write("a")
    assert outbox.begin("b") is None
    assert (server.frames, server.tries) == (["a", "b"], 0)
    assert not outbox.is_waiting
    outbox.close(1000, "")
    outbox.write("nothing follows the close")
    await outbox.closed()
    assert server.types == ["send", "send", "close"]


async def test_no_call_overtakes_frames_that_wait() -> None:
    outbox = outbox_to((server := CallingServer()).send)
    outbox.write("before the accept")
    await outbox.accept()
    outbox.write("behind it")
    assert server.frames == []
    await until(lambda: len(server.frames) == 2)
    server.is_behind = True
    server.takes.clear()
    outbox.write("1")
    await until(lambda: server.tries == 4)
    server.is_behind = False
    outbox.write("2")
    server.takes.set()
    await until(lambda: len(server.frames) == 4)
    outbox.write("3")
    assert server.frames == ["before the accept", "behind it", "1", "2", "3"]


async def test_a_sender_waits_for_a_client_that_is_behind_with_calls_too() -> None:
    outbox = await open_outbox(server := CallingServer())
    server.is_behind = True
    server.takes.clear()
    for _ in range(300):
        outbox.write("x")
    sender = asyncio.create_task(send(outbox, "x"))
    await asyncio.sleep(0)
    assert not sender.done()
    server.takes.set()
    await sender
    await until(lambda: len(server.frames) == 301)
