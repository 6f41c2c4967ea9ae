"""The gate of one connection: order, bounds, the close, and a write that fails or is cancelled."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from django_etp import gate as gate_module
from django_etp.flusher import Flusher
from django_etp.gate import Gate
from tests.inprocess import until

Message = dict[str, Any]


class Server:
    """The server's side of `send`: it keeps what it is sent and, while it is held up, takes nothing."""

    def __init__(self, refuse: Callable[[Message], bool] = lambda message: False) -> None:
        self.messages: list[Message] = []
        self.tries = 0
        self.takes = asyncio.Event()
        self.takes.set()
        self.refuse = refuse

    async def send(self, message: Message) -> None:
        self.tries += 1
        await self.takes.wait()
        if self.refuse(message):
            raise OSError("the server refused this")
        self.messages.append(message)

    @property
    def frames(self) -> list[str]:
        return [message["text"] for message in self.messages if message["type"] == "websocket.send"]

    @property
    def types(self) -> list[str]:
        return [message["type"].removeprefix("websocket.") for message in self.messages]


def never_full() -> None:
    pytest.fail("the outbox is full")


def never_failed(error: Exception) -> None:
    pytest.fail("a write failed")


def gate_to(
    send: Callable[[Message], Awaitable[None]],
    on_full: Callable[[], None] = never_full,
    on_failure: Callable[[Exception], None] = never_failed,
) -> Gate:
    owner = SimpleNamespace(outbox_is_full=on_full, write_failed=on_failure)
    return Gate(send, owner, Flusher(asyncio.get_running_loop(), contextvars.copy_context()))


async def open_gate(
    server: Server, on_full: Callable[[], None] = never_full, on_failure: Callable[[Exception], None] = never_failed
) -> Gate:
    gate = gate_to(server.send, on_full, on_failure)
    await gate.accept()
    server.messages.clear()
    server.tries = 0
    return gate


async def test_the_accept_carries_the_subprotocol() -> None:
    server = Server()
    await gate_to(server.send).accept("etp.ext.v1")
    assert server.messages == [{"type": "websocket.accept", "subprotocol": "etp.ext.v1"}]


async def test_frames_go_out_in_order() -> None:
    server = Server()
    gate = await open_gate(server)
    for number in range(1000):
        gate.write(str(number))
    await until(lambda: len(server.frames) == 1000)
    assert server.frames == [str(number) for number in range(1000)]


async def test_frames_of_both_ways_of_writing_go_out_in_order() -> None:
    server = Server()
    gate = await open_gate(server)
    for number in range(0, 1000, 2):
        gate.write(str(number))
        await gate.send(str(number + 1))
    await until(lambda: len(server.frames) == 1000)
    assert server.frames == [str(number) for number in range(1000)]


async def test_frames_of_many_senders_at_once_keep_the_order_of_each() -> None:
    server = Server()
    gate = await open_gate(server)

    async def sender(name: int) -> None:
        for number in range(100):
            await gate.send(f"{name} {number}")

    await asyncio.gather(*(sender(name) for name in range(10)))
    await until(lambda: len(server.frames) == 1000)
    for name in range(10):
        assert [frame for frame in server.frames if frame.startswith(f"{name} ")] == [f"{name} {n}" for n in range(100)]


async def test_frames_wait_until_the_accept_and_go_out_behind_it() -> None:
    server = Server()
    gate = gate_to(server.send)
    gate.write("first")
    await gate.send("second")
    assert server.messages == []
    await gate.accept()
    await until(lambda: len(server.messages) == 3)
    assert server.types == ["accept", "send", "send"]
    assert server.frames == ["first", "second"]


async def test_frames_of_a_refused_connection_are_dropped() -> None:
    server = Server()
    gate = gate_to(server.send)
    gate.write("news")
    gate.close(4403, "")
    await gate.closed()
    assert server.types == ["close"]


async def test_writing_never_waits_for_the_reader() -> None:
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    for number in range(1000):
        gate.write(str(number))
    await asyncio.sleep(0)
    assert server.tries == 1
    server.takes.set()
    await until(lambda: len(server.frames) == 1000)


async def test_a_sender_waits_while_its_reader_is_far_behind() -> None:
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    sent = 0

    async def sender() -> None:
        nonlocal sent
        for number in range(1000):
            await gate.send(str(number))
            sent = number + 1

    sending = asyncio.create_task(sender())
    gate.write("before")
    await until(lambda: sent > 0)
    await asyncio.sleep(0)
    assert sent < 300
    server.takes.set()
    await sending
    await until(lambda: len(server.frames) == 1001)


async def test_a_waiting_sender_goes_on_when_the_connection_ends() -> None:
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    gate.write("stuck")

    async def sender() -> None:
        for number in range(1000):
            await gate.send(str(number))

    sending = asyncio.create_task(sender())
    await asyncio.sleep(0)
    gate.abandon()
    async with asyncio.timeout(1):
        await sending


@pytest.mark.parametrize("size", [1, 100_000])
async def test_an_outbox_that_is_full_is_told_once_the_bound_is_passed(size: int) -> None:
    full = asyncio.Event()
    server = Server()
    gate = await open_gate(server, full.set)
    server.takes.clear()
    bound = 65_536 if size == 1 else 16 * 1024 * 1024 // size
    frame = "x" * size
    gate.write(frame)
    await asyncio.sleep(0)  # it is being written, and no longer in the outbox
    for _ in range(bound):
        gate.write(frame)
    assert not full.is_set()
    gate.write(frame)
    assert full.is_set()
    gate.abandon()


async def test_one_frame_larger_than_the_outbox_goes_out() -> None:
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    gate.write("small")
    await asyncio.sleep(0)
    gate.write("x" * (17 * 1024 * 1024))
    server.takes.set()
    await until(lambda: len(server.frames) == 2)


async def test_the_outbox_is_bounded_before_the_accept_too() -> None:
    full = asyncio.Event()
    gate = gate_to(Server().send, full.set)
    for _ in range(65_537):
        gate.write("x")
    assert full.is_set()


async def test_a_close_goes_out_behind_what_waits() -> None:
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    gate.write("first")
    gate.write("second")
    gate.close(4000, "enough")
    server.takes.set()
    await gate.closed()
    assert server.types == ["send", "send", "close"]
    assert server.messages[-1] == {"type": "websocket.close", "code": 4000, "reason": "enough"}


async def test_a_close_in_place_of_what_waits_goes_out_behind_the_write_under_way() -> None:
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    gate.write("under way")
    await asyncio.sleep(0)
    gate.write("dropped")
    gate.close(1013, "reads too slowly", drop=True)
    server.takes.set()
    await gate.closed()
    assert server.frames == ["under way"]
    assert server.types == ["send", "close"]


async def test_nothing_follows_a_close() -> None:
    server = Server()
    gate = await open_gate(server)
    gate.close(1000, "")
    gate.write("late")
    await gate.send("later")
    await gate.closed()
    assert server.types == ["close"]


async def test_the_second_close_is_none() -> None:
    server = Server()
    gate = await open_gate(server)
    gate.close(1000, "first")
    gate.close(1001, "second")
    await gate.closed()
    assert [message["reason"] for message in server.messages] == ["first"]


async def test_a_close_while_the_accept_is_under_way_goes_out_behind_it() -> None:
    server = Server()
    server.takes.clear()
    gate = gate_to(server.send)
    accepting = asyncio.create_task(gate.accept())
    await asyncio.sleep(0)
    gate.close(4001, "")
    await asyncio.sleep(0)
    assert server.tries == 1
    server.takes.set()
    await accepting
    await gate.closed()
    assert server.types == ["accept", "close"]


async def test_a_peer_that_vanishes_while_the_accept_is_under_way_is_sent_nothing_more() -> None:
    server = Server()
    server.takes.clear()
    gate = gate_to(server.send)
    accepting = asyncio.create_task(gate.accept())
    await asyncio.sleep(0)
    gate.abandon()
    server.takes.set()
    await accepting
    gate.write("news")
    assert not gate.is_open
    assert server.types == ["accept"]


async def test_an_accept_that_fails_is_raised() -> None:
    server = Server(lambda message: True)
    gate = gate_to(server.send)
    with pytest.raises(OSError, match="refused"):
        await gate.accept()
    assert not gate.is_open


@pytest.mark.parametrize("code", [1001, 1008, 1009, 1011, 1013])
async def test_a_code_that_the_server_refuses_goes_out_plus_3000(code: int) -> None:
    server = Server(lambda message: message["type"] == "websocket.close" and 1000 < message["code"] < 3000)
    gate = await open_gate(server)
    gate.write("last words")
    gate.close(code, "why")
    await gate.closed()
    assert server.frames == ["last words"]
    assert server.messages[-1] == {"type": "websocket.close", "code": code + 3000, "reason": "why"}


@pytest.mark.parametrize("code", [1000, 4000])
async def test_a_close_that_fails_with_a_code_that_servers_take_is_not_tried_again(code: int) -> None:
    server = Server(lambda message: message["type"] == "websocket.close")
    gate = await open_gate(server)
    gate.close(code, "")
    await gate.closed()
    assert server.tries == 1


async def test_a_server_that_refuses_every_close_holds_nobody_up() -> None:
    server = Server(lambda message: message["type"] == "websocket.close")
    gate = await open_gate(server)
    gate.close(1011, "")
    async with asyncio.timeout(1):
        await gate.closed()
    assert server.tries == 2


async def test_a_reader_that_takes_nothing_holds_up_its_close_for_a_while_only(monkeypatch: Any) -> None:
    monkeypatch.setattr(gate_module, "_CLOSE_LIMIT", 0.05)
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    gate.write("stuck")
    gate.close(1000, "")
    async with asyncio.timeout(2):
        await gate.closed()
    await until(lambda: len(asyncio.all_tasks()) == 1)  # the write that was stuck has ended, too


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_frame_that_the_server_refuses_closes_the_connection_with_1011(is_direct: bool) -> None:
    server, failures = Server(lambda message: message.get("text") == "bad"), list[Exception]()
    gate = await open_gate(server, on_failure=failures.append)
    if is_direct:
        await gate.send("bad")
    else:
        for frame in ("good", "bad", "after"):
            gate.write(frame)
    await until(lambda: gate.is_closed)
    await gate.send("even later")
    assert server.frames == ([] if is_direct else ["good"])
    assert (server.messages[-1]["type"], server.messages[-1]["code"]) == ("websocket.close", 1011)
    assert [str(failure) for failure in failures] == ["the server refused this"]
    assert not gate.is_open


async def test_a_close_that_waits_behind_a_frame_that_the_server_refuses_goes_out() -> None:
    server = Server(lambda message: message.get("text") == "bad")
    gate = await open_gate(server)
    gate.write("bad")
    gate.close(4001, "bye")
    await gate.closed()
    assert server.messages == [{"type": "websocket.close", "code": 4001, "reason": "bye"}]


@pytest.mark.parametrize("is_direct", [True, False])
async def test_a_write_that_fails_because_the_peer_is_gone_is_not_reported(is_direct: bool) -> None:
    server = Server()
    gate = await open_gate(server)
    server.refuse = lambda message: True
    if is_direct:
        await gate.send("bad")
    else:
        gate.write("bad")
    await until(lambda: gate.is_closed)
    assert server.messages == []


async def test_a_sender_cancelled_in_mid_write_loses_nobody_elses_frame() -> None:
    server = Server()
    gate = await open_gate(server)
    server.takes.clear()
    cancelled = asyncio.create_task(gate.send("cancelled"))
    await until(lambda: server.tries == 1)
    others = [asyncio.create_task(gate.send(f"other {number}")) for number in range(3)]
    gate.write("from a room")
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
    gate = await open_gate(server)
    server.takes.clear()
    gate.write("under way")
    for number in range(300):
        gate.write(str(number))
    waiting = [asyncio.create_task(gate.send(f"sent {number}")) for number in range(2)]
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
    gate = await open_gate(server)
    server.takes.clear()
    cancelled = asyncio.create_task(gate.send("cancelled"))
    await until(lambda: server.tries == 1)
    gate.close(1000, "")
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    server.takes.set()
    await gate.closed()
    assert server.types == ["close"]


async def test_no_task_is_left_once_all_is_written() -> None:
    before = asyncio.all_tasks()
    server = Server()
    gate = await open_gate(server)
    for number in range(100):
        gate.write(str(number))
    gate.close(1000, "")
    await gate.closed()
    await until(lambda: asyncio.all_tasks() == before)
