"""uvicorn's documented behaviour, on its own WebSocket class and on ours: an application and a client see the same."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame, Opcode

from tests.support.peers import RawPeer, connect, eventually, expect_close, receive
from tests.support.servers import Server, start_server

OPTIONS = [
    *("--ws-max-size", "100000", "--root-path", "/mounted", "--header", "X-From:options"),
    *("--proxy-headers", "--forwarded-allow-ips", "*"),
]

Exchange = Callable[[Server], Awaitable[Any]]
Both = Callable[[Exchange], Awaitable[Any]]


@pytest.fixture(scope="module")
def pair() -> Iterator[list[Server]]:
    """A server with each class."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(start_server("uvicorn", "tests.support.asgi_sites:application", options=options))
            for options in ([*OPTIONS, "--ws", "websockets-sansio"], [*OPTIONS, "--ws", "django_etp.uvicorn:Protocol"])
        ]


@pytest.fixture
def both(pair: list[Server]) -> Both:
    """Return what an exchange brings on both servers, which must be the same."""

    async def run(exchange: Exchange) -> Any:
        theirs, ours = [await exchange(server) for server in pair]
        assert ours == theirs
        return ours

    return run


def recorded(server: Server, name: str, size: int) -> Awaitable[list[Any]]:
    """Return what an application recorded under a name, once it has this many parts."""

    async def probe() -> list[Any]:
        record: list[Any] = await asyncio.to_thread(server.get_json, f"/record/?{name}")
        return record

    return eventually(probe, lambda record: len(record) >= size, interval=0.02)


async def test_scope(both: Both, pair: list[Server]) -> None:
    async def exchange(server: Server) -> Any:
        headers = [("X-Many", "1"), ("X-Many", "2"), ("X-Latin", "grün"), ("X-Forwarded-For", "203.0.113.9")]
        options = {"subprotocols": ["one", "two"], "additional_headers": headers, "compression": "deflate"}
        async with connect(server, "/show-scope/a%2Fb/gr%C3%BCn?q=1&r=%20", **options) as peer:
            scope = json.loads(await receive(peer))
        assert scope["server"] == ["127.0.0.1", server.port]
        del scope["server"]
        assert ("django_etp.direct" in scope["extensions"]) is (server is pair[1])
        scope["extensions"].pop("django_etp.direct", None)
        return {
            **scope,
            "headers": [header for header in scope["headers"] if header[0] not in ("host", "sec-websocket-key")],
        }

    scope = await both(exchange)
    assert scope["path"] == "/mounted/show-scope/a/b/grün"
    assert scope["query_string"] == "q=1&r=%20"
    assert scope["client"] == ["203.0.113.9", 0]
    assert scope["state"] == {"started": True}


async def test_accept_with_a_subprotocol_and_headers(both: Both) -> None:
    async def exchange(server: Server) -> Any:
        async with connect(server, "/accept", subprotocols=["one", "two", "second"]) as peer:
            response = peer.response
            assert response is not None
            headers = sorted((name.lower(), value) for name, value in response.headers.raw_items())
            return (
                response.status_code,
                response.reason_phrase,
                [header for header in headers if header[0] not in ("date", "sec-websocket-accept")],
            )

    assert await both(exchange) == (
        101,
        "Switching Protocols",
        [
            ("connection", "Upgrade"),
            ("sec-websocket-protocol", "second"),
            ("server", "uvicorn"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("upgrade", "websocket"),
            ("x-answer", "42"),
            ("x-from", "options"),
        ],
    )


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/refuse?refused", 403, b""),
        ("/deny?denied", 418, b"<p>I am a teapot"),
        ("/fail", 500, b"Internal Server Error"),
        ("/leave", 500, b"Internal Server Error"),
    ],
)
async def test_handshakes_that_end_without_an_accept(both: Both, path: str, status: int, body: bytes) -> None:
    async def exchange(server: Server) -> Any:
        with pytest.raises(InvalidStatus) as refused:
            await connect(server, path)
        response = refused.value.response
        return response.status_code, bytes(response.body or b""), sorted({*response.headers.keys()} - {"date"})

    assert (await both(exchange))[:2] == (status, body)


@pytest.mark.parametrize("name", ["refused", "denied"])
async def test_application_after_its_refusal(both: Both, name: str) -> None:
    async def exchange(server: Server) -> Any:
        return (await recorded(server, name, 2))[0]

    assert await both(exchange) == ["websocket.disconnect", 1006, None, None]


@pytest.mark.parametrize(
    "header",
    [
        "Sec-WebSocket-Key: c2hvcnQ=",
        "Sec-WebSocket-Key: not base64 at all, no",
        "Sec-WebSocket-Version: 8",
    ],
)
async def test_invalid_handshakes_are_refused(both: Both, header: str) -> None:
    async def exchange(server: Server) -> Any:
        async with await RawPeer.open(server) as peer:
            name = header.partition(":")[0].encode()
            await peer.send_bytes(re.sub(name + b": [^\r]+", header.encode(), peer.handshake("/echo")))
            with pytest.raises(InvalidStatus) as refused:
                await peer.receive_response()
            return refused.value.response.status_code // 100

    assert await both(exchange) == 4


@pytest.mark.parametrize("compression", [None, "deflate"])
async def test_messages_of_both_kinds_and_any_size(both: Both, compression: Any) -> None:
    messages = ["", "äöü" * 10, b"", b"\x00\xff", "x" * 125, "x" * 126, b"y" * 65_535, "z" * 65_536, "ü" * 50_000]

    async def exchange(server: Server) -> Any:
        async with connect(server, "/echo", compression=compression) as peer:
            for message in messages:
                await peer.send(message)
            await peer.send(["in ", "frag", "", "ments"])
            return [await receive(peer) for _ in range(len(messages) + 1)]

    assert await both(exchange) == [*messages, "in fragments"]


async def test_pings_are_answered_between_fragments(both: Both) -> None:
    async def exchange(server: Server) -> Any:
        async with await RawPeer.connect(server, "/echo") as peer:
            for frame in (
                Frame(Opcode.TEXT, b"one ", fin=False),
                Frame(Opcode.PING, b"between"),
                Frame(Opcode.PONG, b"unasked"),
                Frame(Opcode.CONT, b"two"),
            ):
                await peer.send_bytes(frame.serialize(mask=True))
            frames = [await peer.receive() for _ in range(2)]
            return [(frame.opcode, bytes(frame.data)) for frame in frames]

    assert await both(exchange) == [(Opcode.PONG, b"between"), (Opcode.TEXT, b"one two")]


@pytest.mark.parametrize(
    ("opcode", "payload", "bits", "code"),
    [
        (Opcode.TEXT, b"\xff", 0, 1007),
        (Opcode.CONT, b"of nothing", 0, 1002),
        (Opcode.TEXT, b"reserved", 0x40, 1002),
        (Opcode.BINARY, bytes(100_001), 0, 1009),
        (Opcode.CLOSE, b"\x03\xed", 0, 1002),
    ],
    ids=["invalid UTF-8", "continues nothing", "reserved bit", "too long", "invalid close code"],
)
async def test_frames_that_are_not_allowed(both: Both, opcode: Opcode, payload: bytes, bits: int, code: int) -> None:
    name = f"wrong-{opcode.name}-{bits}-{code}"

    async def exchange(server: Server) -> Any:
        async with await RawPeer.connect(server, f"/record?{name}") as peer:
            first, *rest = Frame(opcode, payload).serialize(mask=True)
            await peer.send_bytes(bytes([first | bits, *rest]))
            close = await peer.receive()
            [noticed, _] = await recorded(server, name, 2)
            return close.opcode, close.data[:2], noticed[:2]

    assert await both(exchange) == (Opcode.CLOSE, code.to_bytes(2, "big"), ["websocket.disconnect", code])


async def test_message_that_unpacks_to_more_than_the_limit(both: Both) -> None:
    async def exchange(server: Server) -> Any:
        async with connect(server, "/echo", compression="deflate") as peer:
            await peer.send("x" * 100_001)
            code, _ = await expect_close(peer)
            return code

    assert await both(exchange) == 1009


@pytest.mark.parametrize(
    ("close", "noticed"),
    [((1000, ""), [1000, ""]), ((4321, "genug"), [4321, "genug"]), (None, [1005, ""])],
    ids=["1000", "4321", "none"],
)
async def test_close_of_the_client(both: Both, close: tuple[int, str] | None, noticed: list[Any]) -> None:
    name = f"closed-{close}".replace(" ", "").replace("'", "")
    payload = b"" if close is None else close[0].to_bytes(2, "big") + close[1].encode()

    async def exchange(server: Server) -> Any:
        async with await RawPeer.connect(server, f"/record?{name}") as peer:
            await peer.send(b"hello")
            await peer.send(payload, Opcode.CLOSE)
            answer = await peer.receive()
            with pytest.raises(EOFError):
                await peer.receive()
            return answer.opcode, bytes(answer.data), await recorded(server, name, 3)

    received = ["websocket.receive", None, None, "hello"]
    end = ["websocket.disconnect", *noticed, None]
    assert await both(exchange) == (Opcode.CLOSE, payload, [received, end, True])


@pytest.mark.parametrize("path", ["/record", "/record-unanswered"])
@pytest.mark.parametrize("leave", [RawPeer.close, RawPeer.reset], ids=["ended", "reset"])
async def test_client_that_goes_without_a_close(both: Both, path: str, leave: Any) -> None:
    name = f"gone-{path[1:]}-{leave.__name__}"

    async def exchange(server: Server) -> Any:
        async with await RawPeer.open(server) as peer:
            await peer.send_bytes(peer.handshake(f"{path}?{name}"))
            await (peer.receive_response() if path == "/record" else recorded(server, name, 1))
            await leave(peer)
            return (await recorded(server, name, 2 if path == "/record" else 3))[-2:]

    code = 1005 if path == "/record" else 1006
    assert await both(exchange) == [["websocket.disconnect", code, None, None], True]


@pytest.mark.parametrize(("query", "close"), [("", (4001, "gründlich")), ("?bare", (1000, ""))])
async def test_close_of_the_application(both: Both, query: str, close: tuple[int, str]) -> None:
    async def exchange(server: Server) -> Any:
        async with connect(server, f"/close{query}") as peer:
            return await receive(peer), await expect_close(peer)

    assert await both(exchange) == ("last", close)


async def test_client_that_answers_no_close_may_still_send(both: Both) -> None:
    async def exchange(server: Server) -> Any:
        async with await RawPeer.connect(server, "/close") as peer:
            last, close = [await peer.receive() for _ in range(2)]
            await peer.send(b"too late")
            await peer.send(b"anyone?", Opcode.PING)
            await peer.send(bytes(close.data), Opcode.CLOSE)
            with pytest.raises(EOFError):  # at once
                await peer.receive()
            return last.data, close.data

    await both(exchange)


@pytest.mark.parametrize(("path", "messages"), [("/fail-later", []), ("/leave-later", ["bye"])])
async def test_application_that_ends_without_a_close(both: Both, path: str, messages: list[str]) -> None:
    async def exchange(server: Server) -> Any:
        async with connect(server, path) as peer:
            received = [await receive(peer) for _ in messages]
            with pytest.raises(ConnectionClosed) as closed:
                await receive(peer)
        return received, closed.value.rcvd

    assert await both(exchange) == (messages, None)


async def test_errors_of_send(both: Both) -> None:
    async def exchange(server: Server) -> Any:
        async with connect(server, "/misuse?misused") as peer:
            texts = await receive(peer), await expect_close(peer)
        return texts, await recorded(server, "misused", 5)

    texts, record = await both(exchange)
    assert texts == ("a text", (3000, ""))
    assert [error for _, error, _ in record] == ["RuntimeError"] * 5


async def test_client_that_reads_nothing_holds_up_its_sender(pair: list[Server]) -> None:
    for server in pair:
        async with await RawPeer.connect(server, "/flood?deaf") as deaf:
            deaf.stop_reading()
            [taken] = await settled(partial(recorded, server, "deaf", 1))
            assert taken < 500  # of 1,000 messages of 64 KiB
        await eventually(partial(recorded, server, "deaf", 1), lambda record: record == ["gone"])


async def test_application_that_receives_nothing_holds_up_its_client(pair: list[Server]) -> None:
    for server in pair:
        async with await RawPeer.connect(server, "/ignore?busy") as peer:
            taken = await until_held_up(peer)
            assert taken < 500  # of 1,000 messages of 64 KiB
            with pytest.raises(InvalidStatus):
                await connect(server, "/release?busy")
            await eventually(
                partial(recorded, server, "busy", 1), lambda record, taken=taken: record == [taken * 65_536]
            )


async def until_held_up(peer: RawPeer) -> int:
    """Send messages of 64 KiB until the server reads nothing for half a second; return how many."""
    message = Frame(Opcode.BINARY, bytes(65_536)).serialize(mask=True)
    for number in range(1, 1001):
        sending = asyncio.create_task(peer.send_bytes(message))
        if not (await asyncio.wait([sending], timeout=0.5))[0]:
            sending.cancel()  # the message waits in the client's own buffer
            return number
    return 1000


async def test_lines_of_the_log(pair: list[Server]) -> None:
    lines = []
    for server in pair:
        async with connect(server, "/echo?line=1"):
            pass
        for path in ("/fail?line=2", "/leave?line=3", "/refuse?line=4", "/deny?line=5"):
            with pytest.raises(InvalidStatus):
                await connect(server, path)
        lines.append([re.sub(r":\d+ -", " -", line) for line in server.log.splitlines() if "?line=" in line])
    assert lines[0] == lines[1]
    assert lines[1] == [
        'INFO:     127.0.0.1 - "WebSocket /mounted/echo?line=1" [accepted]',
        'INFO:     127.0.0.1 - "WebSocket /mounted/refuse?line=4" 403',
        'INFO:     127.0.0.1 - "WebSocket /mounted/deny?line=5" 418',
    ]


async def settled(probe: Callable[[], Awaitable[Any]]) -> Any:
    """Return what a probe finds twice, half a second apart."""
    last = None
    while (now := await probe()) != last:
        last = now
        await asyncio.sleep(0.5)
    return now


async def test_server_that_ends(pair: list[Server]) -> None:
    ends = []
    for server in pair:
        async with connect(server, "/record?end") as peer, await RawPeer.open(server) as waiting:
            await waiting.send_bytes(waiting.handshake("/record-unanswered?unanswered"))
            await recorded(server, "unanswered", 1)
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            with pytest.raises(InvalidStatus) as refused:
                await waiting.receive_response()
            ends.append((await expect_close(peer), refused.value.response.status_code))
            await stopping
    assert ends == [((1012, ""), 500)] * 2
