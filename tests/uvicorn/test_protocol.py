"""The protocol class on a transport in memory. test_both_classes.py has what it has in common with uvicorn's own."""

import asyncio
import logging
import random
from itertools import takewhile
from typing import Any

import pytest

from django_etp.draining import draining
from django_etp.uvicorn import outgoing
from django_etp.uvicorn import protocol as module
from django_etp.uvicorn.application import ClientDisconnected
from django_etp.uvicorn.reader import Control
from tests.support.frames import frame
from tests.support.fuzzing import random_input, read
from tests.support.transports import Link

TEXT, BINARY, CLOSE, PING, PONG = 0x81, 0x82, 0x88, 0x89, 0x8A
Message = dict[str, Any]


class App:
    """An application that accepts, and does what a test asks for.

    Attributes:
        received: all messages so far.
        send: the server's send.
    """

    def __init__(self, *, accepts: bool = True, echoes: bool = False) -> None:
        self.accepts = accepts
        self.echoes = echoes
        self.may_receive = asyncio.Event()
        self.may_receive.set()
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.received: list[Message] = []

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        self.receive, self.send = receive, send
        await receive()
        if self.accepts:
            await send({"type": "websocket.accept"})
        while not self.received or self.received[-1]["type"] != "websocket.disconnect":
            await self.may_receive.wait()
            self.received.append(await receive())
            if self.echoes and self.received[-1]["type"] == "websocket.receive":
                await send({**self.received[-1], "type": "websocket.send"})
        await self.may_end.wait()

    @property
    def texts(self) -> list[str]:
        return [message["text"] for message in self.received if message["type"] == "websocket.receive"]

    @property
    def end(self) -> Message | None:
        return next((message for message in self.received if message["type"] == "websocket.disconnect"), None)


async def test_what_is_sent_in_one_turn_is_one_write() -> None:
    link = await Link(app := App()).open()
    for number in range(10):
        await app.send({"type": "websocket.send", "text": str(number)})
    assert link.transport.writes == []
    await asyncio.sleep(0)
    assert len(link.transport.writes) == 1
    assert link.frames == [(TEXT, str(number).encode()) for number in range(10)]


async def test_answers_to_the_events_of_one_read_are_one_write() -> None:
    link = await Link(App(echoes=True)).open()
    link.send(*(frame(1, b"%d" % number) for number in range(10)), frame(9, b"ping"))
    await link.until(lambda: link.transport.writes)
    assert len(link.transport.writes) == 1
    assert len(link.frames) == 11


async def test_a_long_turn_is_not_kept_until_its_end() -> None:
    link = await Link(app := App()).open()
    for _ in range(10):
        await app.send({"type": "websocket.send", "bytes": bytes(20_000)})
        assert link.protocol.unsent_bytes < 90_000
    assert len(link.transport.writes) > 1


async def test_unsent_bytes_are_those_of_this_turn_and_of_the_transport() -> None:
    link = await Link(app := App()).open()
    link.transport.buffered = 1000
    await app.send({"type": "websocket.send", "text": "x" * 100})
    assert link.protocol.unsent_bytes == 1102
    await asyncio.sleep(0)
    assert link.protocol.unsent_bytes == 1000


async def test_senders_wait_while_the_client_is_behind() -> None:
    link = await Link(app := App()).open()
    link.protocol.pause_writing()
    senders = [asyncio.create_task(app.send({"type": "websocket.send", "text": "x"})) for _ in range(3)]
    await asyncio.sleep(0.01)
    assert link.frames == []
    senders[0].cancel()
    link.protocol.resume_writing()
    await link.until(lambda: len(link.frames) == 2)
    assert (await asyncio.gather(*senders, return_exceptions=True))[1:] == [None, None]


async def test_senders_that_wait_for_a_client_that_goes_are_told() -> None:
    link = await Link(app := App()).open()
    link.protocol.pause_writing()
    sender = asyncio.create_task(app.send({"type": "websocket.send", "text": "x"}))
    await asyncio.sleep(0)
    link.transport.close()
    with pytest.raises(ClientDisconnected):
        await sender
    await link.ended()


async def test_a_client_that_is_behind_gets_no_pongs() -> None:
    link = await Link(App()).open()
    link.protocol.pause_writing()
    link.send(frame(9, b"one") * 1000)
    link.protocol.resume_writing()
    link.send(frame(9, b"two"))
    await link.until(lambda: link.frames)
    assert link.frames == [(PONG, b"two")]


async def test_an_application_that_receives_nothing_holds_up_its_client() -> None:
    link = await Link(app := App(), ws_max_queue=4).open()
    app.may_receive.clear()
    link.send(*(frame(1, b"%d" % number) for number in range(100)), frame(9, b"behind"))
    assert link.transport.is_reading_paused
    assert len(link.protocol._incoming.messages) == 4
    assert link.frames == []  # the ping waits, too
    app.may_receive.set()
    await link.until(lambda: len(app.texts) == 100)
    assert app.texts == [str(number) for number in range(100)]
    assert not link.transport.is_reading_paused
    await link.until(lambda: link.frames)
    assert link.frames == [(PONG, b"behind")]


async def test_large_messages_count_by_their_size() -> None:
    link = await Link(app := App()).open()
    app.may_receive.clear()
    link.send(*(frame(1, b"x" * 50_000) for _ in range(5)))
    assert len(link.protocol._incoming.messages) == 2
    app.may_receive.set()
    await link.until(lambda: len(app.texts) == 5)


async def test_small_messages_that_never_empty_the_queue_are_all_received() -> None:
    link = await Link(App(echoes=True), ws_max_queue=2).open()
    for number in range(100):
        link.send_text(str(number))
        await asyncio.sleep(0)
    await link.until(lambda: len(link.frames) == 100)
    assert [payload for _, payload in link.frames] == [b"%d" % number for number in range(100)]


async def test_what_comes_before_the_accept_is_kept_and_bounded() -> None:
    link = Link(app := App(accepts=False)).request()
    await link.until(lambda: hasattr(app, "send"))
    link.send(frame(1, b"early") + frame(2, bytes(70_000)))
    assert link.transport.is_reading_paused
    assert app.received == []
    await app.send({"type": "websocket.accept"})
    await link.until(lambda: len(app.received) == 2)
    assert app.received[0] == {"type": "websocket.receive", "text": "early"}
    assert not link.transport.is_reading_paused


async def test_messages_before_an_error_are_received_before_its_close() -> None:
    link = await Link(app := App()).open()
    link.send(frame(1, b"good"), frame(1, b"\xff"), frame(1, b"behind"))
    await link.until(lambda: app.end)
    assert app.texts == ["good"]
    assert app.end == {"type": "websocket.disconnect", "code": 1007, "reason": "invalid UTF-8"}
    assert link.frames == [(CLOSE, b"\x03\xefinvalid UTF-8")]


async def test_a_client_that_broke_a_rule_has_time_to_read_why() -> None:
    link = await Link(app := App()).open()
    link.send(frame(1, b"", is_masked=False))
    await link.until(lambda: app.end and not link.state.tasks)
    assert link.transport.has_eof
    assert not link.transport.is_closing()
    link.send(frame(2, bytes(100_000)))  # it has not read the close yet
    assert app.end == app.received[-1]
    with pytest.raises(ClientDisconnected):
        await app.send({"type": "websocket.send", "text": "x"})
    link.transport.close()  # as asyncio does when the client's end comes
    await link.ended()


@pytest.mark.parametrize("extra", [{}, {"sslcontext": object()}], ids=["plain", "TLS"])
async def test_a_client_that_broke_a_rule_and_does_not_end_is_aborted(monkeypatch: Any, extra: Any) -> None:
    monkeypatch.setattr(module, "_CLOSE_TIMEOUT", 0.01)
    link = await Link(App(), extra=extra).open()
    link.send(frame(1, b"", is_masked=False))
    assert link.frames[0][0] == CLOSE
    await link.ended()
    assert link.transport.is_aborted


async def test_a_client_that_answers_no_close_is_given_up(monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_CLOSE_TIMEOUT", 0.01)
    link = await Link(app := App()).open()
    await app.send({"type": "websocket.close", "code": 4000, "reason": "enough"})
    link.send_text("too late")
    await link.ended()
    assert app.texts == []
    assert app.end == {"type": "websocket.disconnect", "code": 4000, "reason": "enough"}


@pytest.mark.parametrize("end", ["application", "client", "server", "return"])
async def test_a_client_that_reads_nothing_is_given_up_at_the_end(end: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "_CLOSE_TIMEOUT", 0.01)
    monkeypatch.setattr(outgoing, "_READ_TIMEOUT", 0.01)
    link = await Link(app := App()).open()
    link.transport.buffered = 1000
    match end:
        case "application":
            await app.send({"type": "websocket.close"})
        case "client":
            link.send(frame(8, b"\x03\xe8"))
        case "server":
            link.protocol.shutdown()
        case "return":
            link.state.tasks.copy().pop().cancel()
    await link.ended()
    assert link.transport.is_aborted


async def test_the_close_of_an_application_that_was_held_up_still_finds_the_client_s() -> None:
    link = await Link(app := App(), ws_max_queue=1).open()
    app.may_receive.clear()
    link.send(frame(1, b"1") * 10, frame(8, b"\x03\xe8"))
    assert link.transport.is_reading_paused
    await app.send({"type": "websocket.close"})
    app.may_receive.set()
    await link.ended()
    assert [first for first, _ in link.frames] == [CLOSE]


async def test_a_close_with_a_code_that_may_not_be_sent_closes_nothing() -> None:
    link = await Link(app := App(echoes=True)).open()
    with pytest.raises(Exception, match="close code"):
        await app.send({"type": "websocket.close", "code": 1006})
    link.send_text("still here")
    await link.until(lambda: link.frames)
    assert link.frames == [(TEXT, b"still here")]


async def test_receive_after_the_end_returns_the_end_again() -> None:
    link = await Link(app := App()).open()
    link.send(frame(8, b"\x03\xe8bye"))
    await link.ended()
    assert await app.receive() == app.end == {"type": "websocket.disconnect", "code": 1000, "reason": "bye"}


async def test_two_receivers_get_a_message_each() -> None:
    link = await Link(app := App()).open()
    app.may_receive.clear()
    link.send_text("wakes the application")
    await link.until(lambda: app.received)
    receivers = [asyncio.create_task(app.receive()) for _ in range(3)]
    await asyncio.sleep(0)
    receivers.pop(0).cancel()
    link.send(frame(1, b"one") + frame(1, b"two"))
    assert [(await each)["text"] for each in receivers] == ["one", "two"]


async def test_the_limit_of_messages_can_be_lowered_for_a_connection() -> None:
    link = await Link(app := App()).open()
    assert link.protocol.max_size == 16 * 1024 * 1024
    link.protocol.max_size = 100
    link.send(frame(1, b"x" * 100), frame(1, b"x" * 101))
    await link.until(lambda: app.end)
    assert app.texts == ["x" * 100]
    assert app.end is not None
    assert app.end["code"] == 1009


@pytest.mark.parametrize("is_offered", [True, False])
async def test_large_messages_are_compressed_if_the_client_offers_it(is_offered: bool) -> None:
    headers = ["sec-websocket-extensions: permessage-deflate"] if is_offered else []
    link = await Link(app := App()).open(*headers)
    for size in (1023, 1024):
        await app.send({"type": "websocket.send", "text": "x" * size})
    await app.send({"type": "websocket.send", "bytes": bytes(2000)})
    await asyncio.sleep(0)
    compressed = 0x40 if is_offered else 0
    assert [first for first, _ in link.frames] == [TEXT, TEXT | compressed, BINARY | compressed]


async def test_compression_can_be_turned_off() -> None:
    link = Link(App(), ws_per_message_deflate=False).request("sec-websocket-extensions: permessage-deflate")
    await link.until(lambda: link.transport.writes)
    assert b"permessage-deflate" not in link.transport.writes[0]
    link.transport.writes.clear()
    link.send(frame(1, b"", first=TEXT | 0x40))
    assert link.frames[0][1].startswith(b"\x03\xea")


async def test_pings_go_out_and_pongs_keep_the_connection() -> None:
    link = await Link(app := App(), ws_ping_interval=0.01, ws_ping_timeout=30).open()
    for count in (1, 2, 3):
        await link.until(lambda count=count: len(link.frames) == count)
        first, payload = link.frames[-1]
        assert first == PING
        link.send(frame(10, payload))
    link.send(frame(8, b"\x03\xe8"))
    await link.ended()
    assert app.end is not None


async def test_a_client_that_answers_no_ping_is_closed_with_1011() -> None:
    link = await Link(app := App(), ws_ping_interval=0.01, ws_ping_timeout=0.01).open()
    await link.until(lambda: link.frames)
    link.send(frame(10, b"another"), frame(1, b"not a pong"))
    await link.ended()
    assert [first for first, _ in link.frames] == [PING, CLOSE]
    assert app.end == {"type": "websocket.disconnect", "code": 1011, "reason": "keepalive ping timeout"}


async def test_the_end_of_the_server_closes_with_1012() -> None:
    link = await Link(app := App()).open()
    await app.send({"type": "websocket.send", "text": "before"})
    link.protocol.shutdown()
    await link.ended()
    assert link.frames == [(TEXT, b"before"), (CLOSE, b"\x03\xf4")]
    assert app.end == {"type": "websocket.disconnect", "code": 1012}


async def test_the_end_of_the_server_leaves_the_close_to_a_drain(monkeypatch: pytest.MonkeyPatch) -> None:
    link, other = await Link(app := App()).open(), await Link(App()).open()
    monkeypatch.setattr(draining, "closes", lambda server: server is link.protocol)
    link.protocol.shutdown()
    other.protocol.shutdown()
    await other.ended()
    assert (link.frames, app.end) == ([], None)
    await app.send({"type": "websocket.close", "code": 1012, "reason": "later"})
    await link.until(lambda: link.frames)
    assert link.frames == [(CLOSE, b"\x03\xf4later")]


async def test_the_end_of_the_server_refuses_a_handshake_with_500() -> None:
    link = Link(app := App(accepts=False)).request()
    await link.until(lambda: hasattr(app, "send"))
    link.protocol.shutdown()
    await link.ended()
    assert link.transport.writes[0].startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert app.end == {"type": "websocket.disconnect", "code": 1006}


async def test_the_end_of_the_server_does_not_wait_for_a_client_that_answers_no_close() -> None:
    link = await Link(app := App()).open()
    await app.send({"type": "websocket.close"})
    link.protocol.shutdown()
    await link.ended()
    assert [first for first, _ in link.frames] == [CLOSE]


async def test_an_invalid_request_reaches_no_application() -> None:
    link = Link(app := App()).request("sec-websocket-key: a second one")
    await link.ended()
    assert link.transport.writes[0].startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert not hasattr(app, "send")


async def test_an_application_that_is_cancelled_lets_go_of_its_client(caplog: Any) -> None:
    link = await Link(App()).open()
    with caplog.at_level(logging.CRITICAL, "uvicorn.error"):
        for task in link.state.tasks:
            task.cancel()
        await link.ended()


async def test_a_connection_leaves_no_reference_cycle_with_its_timers() -> None:
    link = await Link(App(), ws_ping_interval=20).open()
    assert link.protocol._keepalive is not None
    link.transport.close()
    await link.ended()
    assert link.protocol._keepalive is None
    assert link.protocol._timer is None


class Calls:
    """An application that uses the extension django_etp.direct; see App."""

    def __init__(self) -> None:
        self.taken: list[str | bytes] = []
        self.is_waiting = False
        self.may_go_on = asyncio.Event()
        self.end: Message | None = None

    async def __call__(self, scope: Message, receive: Any, send: Any) -> None:
        assert scope["extensions"]["django_etp.direct"] == {}
        self.server = send.__self__
        await receive()
        assert not self.server.offer("too early")
        await send({"type": "websocket.accept"})
        while (end := await self.server.receive_by(self.take)) is None:
            await self.may_go_on.wait()
        self.end = end

    def take(self, data: str | bytes) -> bool:
        self.taken.append(data)
        return self.is_waiting


async def test_messages_are_passed_on_while_they_are_read() -> None:
    link = await Link(app := Calls()).open()
    link.send(frame(1, b"a"), frame(2, b"b"), frame(9, b"ping"), frame(1, b"c"))
    assert app.taken == ["a", b"b", "c"]
    link.send(frame(8, (1000).to_bytes(2, "big")))
    await link.ended()
    assert app.end == {"type": "websocket.disconnect", "code": 1000, "reason": ""}


async def test_a_client_that_sends_too_fast_is_read_no_further_by_calls_too() -> None:
    link = await Link(app := Calls()).open()
    app.is_waiting = True
    link.send(*(frame(1, b"%d" % number) for number in range(100)))
    assert app.taken == ["0"]
    assert link.transport.is_reading_paused
    app.is_waiting = False
    app.may_go_on.set()
    await link.until(lambda: len(app.taken) == 100)
    assert app.taken == [str(number) for number in range(100)]
    assert not link.transport.is_reading_paused


async def test_what_taking_a_message_raises_is_the_applications_error(caplog: Any) -> None:
    link = await Link(app := Calls()).open()
    app.taken = None  # type: ignore[assignment]  # take() cannot add to it
    link.send_text("a")
    await link.ended()
    assert [record.getMessage() for record in caplog.records] == ["Exception in ASGI application\n"]
    assert caplog.records[0].exc_info[0] is AttributeError  # type: ignore[index]


async def test_texts_that_are_offered_and_sent_go_out_in_order_and_together() -> None:
    link = await Link(app := Calls()).open()
    assert app.server.offer("1")
    await app.server.send({"type": "websocket.send", "text": "2"})
    assert app.server.offer("3")
    await app.server.send({"type": "websocket.close"})
    assert not app.server.offer("too late")
    await asyncio.sleep(0)
    assert len(link.transport.writes) == 1
    assert link.frames == [(TEXT, b"1"), (TEXT, b"2"), (TEXT, b"3"), (CLOSE, (1000).to_bytes(2, "big"))]


async def test_nothing_is_taken_for_a_client_that_is_behind() -> None:
    link = await Link(app := Calls()).open()
    link.protocol.pause_writing()
    assert not app.server.offer("x")
    link.protocol.resume_writing()
    assert app.server.offer("x")


@pytest.mark.parametrize(("size", "most"), [(1, 256), (10_000, 7), (1_000_000, 1)])
async def test_who_offers_without_end_has_to_let_the_loop_turn(size: int, most: int) -> None:
    link = await Link(app := Calls()).open()
    text = "x" * size
    assert [app.server.offer(text) for _ in range(300)] == [True] * most + [False] * (300 - most)
    assert link.transport.writes == []
    await asyncio.sleep(0)
    assert app.server.offer(text)


async def test_a_text_that_goes_to_many_is_framed_once() -> None:
    apps = [Calls(), Calls()]
    links = [await Link(app).open() for app in apps]
    text = "x" * 1000
    for app in apps:
        app.server.offer(text)
    assert links[0].protocol._outgoing.frames[0] is links[1].protocol._outgoing.frames[0]


async def test_a_text_that_is_not_unicode_is_left_to_send() -> None:
    await Link(app := Calls()).open()
    assert not app.server.offer("\ud800")
    with pytest.raises(UnicodeEncodeError):
        await app.server.send({"type": "websocket.send", "text": "\ud800"})


async def test_whatever_a_client_sends_the_application_gets_what_was_read(caplog: Any) -> None:
    source = random.Random(1)
    for _ in range(100):
        data = random_input(source)[2:]
        link = await Link(app := Calls(), ws_max_size=100_000).open()
        for start in range(0, len(data), 50):
            link.send(data[start : start + 50])
        items = takewhile(lambda item: not (isinstance(item, Control) and item.opcode == 8), read(data))
        assert app.taken == [item for item in items if isinstance(item, str | bytes)]
        link.protocol.connection_lost(None)
        await link.until(lambda link=link: not link.state.tasks)
    assert caplog.records == []
