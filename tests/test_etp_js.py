"""etp.js in a real browser: frame by frame against a bare WebSocket server, then against django_etp on real servers."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, Route
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

import django_etp
from tests.browser import CHROMIUM, start_browser
from tests.servers import Server

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

MODULE = Path(django_etp.__file__).parent / "static" / "django_etp" / "etp.js"
VECTORS = json.loads((Path(__file__).parent / "data" / "wire-vectors.json").read_text())
PAGE = "<!doctype html><title>etp.js</title>"
TIMEOUT = 10  # seconds, for whatever should come at once


class Peer:
    """A server whose ETP side the test plays itself; it also serves the page that the client runs in."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def accept(self) -> ServerConnection:
        """Return the next connection that the browser opened."""
        return await asyncio.wait_for(self.connections.get(), TIMEOUT)

    async def serve(self, connection: ServerConnection) -> None:
        self.connections.put_nowait(connection)
        await connection.wait_closed()

    def answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        match request.path:
            case "/":
                return _response(PAGE, "text/html")
            case "/etp.js":
                return _response(MODULE.read_text(), "text/javascript")
            case "/ws/":
                return None
            case _:
                return Response(503, "Service Unavailable", Headers({"Content-Length": "0"}))


def _response(body: str, content_type: str) -> Response:
    content = body.encode()
    headers = {"Content-Type": content_type, "Content-Length": str(len(content)), "Connection": "close"}
    return Response(200, "OK", Headers(headers), content)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tab() -> AsyncIterator[Page]:
    async with start_browser() as browser:
        yield await browser.new_page()


@pytest_asyncio.fixture(loop_scope="module")
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    async with serve(
        peer.serve,
        "127.0.0.1",
        0,
        process_request=peer.answer_http,
        select_subprotocol=lambda _, offered: offered[0] if offered else None,
        close_timeout=1,
    ) as server:
        peer.port = server.sockets[0].getsockname()[1]
        yield peer


@pytest_asyncio.fixture(loop_scope="module")
async def page(tab: Page, peer: Peer) -> AsyncIterator[Page]:
    """A fresh page with the module as `etp`; `start()` makes a `client` and notes what happens to it in `seen`."""
    await _open(tab, peer.url)
    yield tab
    await tab.goto("about:blank")  # closes what is open


async def _open(page: Page, url: str) -> None:
    await page.goto(url)
    await page.evaluate(
        """async () => {
            window.etp = await import("/etp.js");
            window.seen = [];
            window.start = (options, url = "/ws/") => {
                window.client = new etp.EtpClient(url, { minDelay: 20, ...options });
                client.onConnect(() => seen.push("connect"));
                client.onDisconnect((how) => seen.push(["disconnect", how.code, how.isNormal, how.willReconnect]));
                client.onError((error) => seen.push(["error", error.code ?? error.message]));
                return client.connect();
            };
            window.fate = (promise) =>
                promise.then((value) => ["resolved", value], (error) => [error.name, error.code]);
        }"""
    )


async def start(page: Page, peer: Peer, **options: Any) -> ServerConnection:
    """Connect the client and return the server's end."""
    await page.evaluate("(options) => { start(options); }", options)
    connection = await peer.accept()
    if not options.get("extensions"):  # else it opens with the greeting
        await wait_until(page, "client.state === 'open'")
    return connection


async def answer_http(route: Route) -> None:
    """Serve the page and the module in the place of an origin that has neither."""
    if route.request.url.endswith("/etp.js"):
        await route.fulfill(body=MODULE.read_text(), content_type="text/javascript")
    else:
        await route.fulfill(body=PAGE, content_type="text/html")


async def wait_until(page: Page, expression: str) -> None:
    await page.wait_for_function(expression, timeout=TIMEOUT * 1000)


async def receive(connection: ServerConnection) -> str:
    frame = await asyncio.wait_for(connection.recv(), TIMEOUT)
    assert isinstance(frame, str), "the client writes text only"
    return frame


async def expect_no_answer(page: Page, connection: ServerConnection) -> None:
    """The client sends in order: once a marker emitted now is the next frame, nothing else was sent."""
    await page.evaluate("client.emit('marker')")
    assert await receive(connection) == "marker||0"


# The codec


async def test_decode_agrees_with_the_reference(page: Page) -> None:
    decoded = await page.evaluate(
        """(wires) => wires.map((wire) => {
            try {
                const { name, ackId, data } = etp.decode(wire);
                return { name, ack_id: String(ackId), data };
            } catch (error) {
                return { error: error.code };
            }
        })""",
        [vector["wire"] for vector in VECTORS["decode"]],
    )
    assert decoded == [
        {"error": "invalid_frame"}
        if "error" in vector
        else {"name": vector["name"], "ack_id": str(vector["ack_id"]), "data": vector["data"]}
        for vector in VECTORS["decode"]
    ]


@pytest.mark.parametrize("number", ["-9223372036854775808", "9223372036854775807", "0" * 40 + "7"])
async def test_decode_reads_every_signed_64_bit_number(page: Page, number: str) -> None:
    assert await page.evaluate("(id) => String(etp.decode(`a||${id}`).ackId)", number) == str(int(number))


@pytest.mark.parametrize("number", ["-9223372036854775809", "9" * 40, "--1", "+-1", "٣", "1\n", "1n"])
async def test_decode_refuses_every_other_number(page: Page, number: str) -> None:
    assert (await page.evaluate("(id) => fate((async () => etp.decode(`a||${id}`))())", number))[1] == "invalid_frame"


async def test_encode_agrees_with_the_reference(page: Page) -> None:
    events = [vector for vector in VECTORS["encode"] if not vector["name"].startswith("__ack_")]
    frames = await page.evaluate(
        "(events) => events.map(({ name, ack_id, data }) => etp.encode({ name, ackId: BigInt(ack_id), data }))", events
    )
    assert frames == [vector["wire"] for vector in events]


@pytest.mark.parametrize("name", ["a||b", "a|", "|", "__ack_", "__ack_a"])
async def test_encode_refuses_what_would_come_back_as_another_frame(page: Page, name: str) -> None:
    fate = await page.evaluate("(name) => fate((async () => etp.encode({ name }))())", name)
    assert fate == ["EtpError", "invalid_event_name"]


# Sending


async def test_payloads_go_as_text_as_json_or_not_at_all(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate(
        """() => {
            for (const data of ["text", "", '{"a": 1}', undefined, null, 0, false, [1, "2"], { a: null }])
                client.emit("x", data);
        }"""
    )
    assert [await receive(connection) for _ in range(9)] == [
        "x||0||text",
        "x||0",
        'x||0||{"a": 1}',
        "x||0",
        "x||0",
        "x||0||0",
        "x||0||false",
        'x||0||[1,"2"]',
        'x||0||{"a":null}',
    ]


@pytest.mark.parametrize("value", ["() => 1", "Symbol()", "10n"])
async def test_what_json_cannot_hold_is_refused_and_nothing_is_sent(page: Page, peer: Peer, value: str) -> None:
    connection = await start(page, peer)
    assert (await page.evaluate(f"fate((async () => client.emit('x', {value}))())"))[0] == "TypeError"
    assert (await page.evaluate(f"fate(client.emitWithAck('x', {value}))"))[0] == "TypeError"
    await expect_no_answer(page, connection)


async def test_without_a_connection_emit_throws_and_a_question_rejects(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { window.client = new etp.EtpClient('/ws/'); }")
    assert await page.evaluate("fate((async () => client.emit('x'))())") == ["ConnectionLost", "connection_lost"]
    assert await page.evaluate("fate(client.emitWithAck('x'))") == ["ConnectionLost", "connection_lost"]


# Events that come


@pytest.mark.parametrize(
    ("data", "payload"),
    [
        ("||0", 0),
        ("||false", False),
        ("", ""),
        ("||", ""),
        ('||""', ""),
        ("||null", None),
        ("||text", "text"),
        ('||{"a": [1]}', {"a": [1]}),
        ("||{oops", "{oops"),
        ("||a||b", "a||b"),
    ],
)
async def test_payloads_arrive_as_what_they_are(page: Page, peer: Peer, data: str, payload: Any) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => client.on('x', (payload, event) => seen.push([payload, event.data]))")
    await connection.send(f"x||0{data}")
    await wait_until(page, "seen.length === 2")
    assert await page.evaluate("seen[1]") == [payload, data.removeprefix("||")]


async def test_a_binary_message_is_read_like_a_text_one(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => client.on('x', (payload) => payload)")
    await connection.send("x||1||приве́т 😀".encode())
    assert await receive(connection) == "__ack_x||1||приве́т 😀"


@pytest.mark.parametrize("frame", ["", "hello", "hello||x", b"hello||0||\xff"])
async def test_a_malformed_frame_is_reported_and_the_connection_stays(
    page: Page, peer: Peer, frame: str | bytes
) -> None:
    connection = await start(page, peer)
    await connection.send(frame)
    await wait_until(page, "seen.length === 2")
    assert await page.evaluate("seen") == ["connect", ["error", "invalid_frame"]]
    await expect_no_answer(page, connection)


async def test_an_empty_name_is_a_name(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => client.on('', () => 'handled')")
    await connection.send("||1")
    assert await receive(connection) == "__ack_||1||handled"


async def test_once_off_and_the_returned_function_take_a_handler_back(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate(
        """() => {
            const dropped = () => seen.push("dropped");
            client.once("x", () => seen.push("once"));
            client.on("x", dropped);
            client.on("x", () => seen.push("by function"))();
            client.on("y", dropped);
            client.off("x", dropped);
            client.off("y");
            client.on("x", () => seen.push("always"));
        }"""
    )
    for frame in ["x||0", "x||0", "y||0", "x||1"]:
        await connection.send(frame)
    await receive(connection)
    assert await page.evaluate("seen") == ["connect", "once", "always", "always", "always"]


async def test_a_slow_handler_holds_up_no_other_event(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate(
        """() => {
            client.on("slow", () => new Promise((resolve) => { window.finish = resolve; }));
            client.on("fast", () => "fast");
        }"""
    )
    await connection.send("slow||1")
    await connection.send("fast||2")
    assert await receive(connection) == "__ack_fast||2||fast"
    await page.evaluate("finish('slow')")
    assert await receive(connection) == "__ack_slow||1||slow"


# The server's questions


@pytest.mark.parametrize(
    ("handler", "data"),
    [
        ("() => 'text'", "||text"),
        ("async () => ({ a: 1 })", '||{"a":1}'),
        ("() => 0", "||0"),
        ("() => false", "||false"),
        ("() => ''", ""),
        ("() => null", ""),
        ("() => {}", ""),
    ],
)
async def test_what_a_handler_returns_is_the_answer(page: Page, peer: Peer, handler: str, data: str) -> None:
    connection = await start(page, peer)
    await page.evaluate(f"() => {{ client.on('x', {handler}); }}")
    await connection.send("x||7")
    assert await receive(connection) == f"__ack_x||7{data}"


@pytest.mark.parametrize(
    ("number", "echoed"),
    [
        ("9223372036854775807", "9223372036854775807"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("9007199254740993", "9007199254740993"),
        ("-1", "-1"),
        ("+5", "5"),
        ("007", "7"),
    ],
)
async def test_the_answer_has_the_number_of_the_question(page: Page, peer: Peer, number: str, echoed: str) -> None:
    connection = await start(page, peer)
    await connection.send(f"x||{number}")
    assert await receive(connection) == f"__ack_x||{echoed}"


async def test_several_handlers_give_one_answer_the_last_that_returned_something(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { for (const answer of [1, 2, null]) client.on('x', () => answer); }")
    await connection.send("x||1")
    assert await receive(connection) == "__ack_x||1||2"
    await expect_no_answer(page, connection)


async def test_an_event_that_wants_no_answer_gets_none(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => client.on('x', () => seen.push('x'))")
    await connection.send("x||0")
    await wait_until(page, "seen.length === 2")
    await expect_no_answer(page, connection)


async def test_an_unknown_event_is_answered_with_nothing(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await connection.send("nosuch||3||x")
    assert await receive(connection) == "__ack_nosuch||3"


async def test_the_unknown_event_hook_answers_in_the_handlers_place(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => client.onUnknownEvent((payload, event) => `${event.name} ${payload}`)")
    await connection.send("nosuch||3||x")
    assert await receive(connection) == "__ack_nosuch||3||nosuch x"


@pytest.mark.parametrize(
    "handler",
    ["() => { throw new Error('sorry'); }", "async () => { throw new Error('sorry'); }", "() => () => 'no JSON'"],
)
async def test_a_failed_handler_is_reported_and_not_answered(page: Page, peer: Peer, handler: str) -> None:
    connection = await start(page, peer)
    await page.evaluate(f"() => {{ client.on('x', {handler}); }}")
    await connection.send("x||1")
    await wait_until(page, "seen.length === 2")
    assert (await page.evaluate("seen[1]"))[0] == "error"
    await expect_no_answer(page, connection)


async def test_the_error_hook_is_given_the_event(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate(
        """() => {
            client.onError((error, event) => seen.push(event.name));
            client.on("x", () => { throw new Error("sorry"); });
        }"""
    )
    await connection.send("x||0")
    await wait_until(page, "seen.length === 3")
    assert await page.evaluate("seen.slice(1)") == [["error", "sorry"], "x"]


async def test_without_an_error_hook_errors_reach_the_console(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { window.client = new etp.EtpClient('/ws/'); client.connect(); }")
    connection = await peer.accept()
    async with page.expect_console_message(
        lambda message: "invalid_frame" in message.text or "Invalid" in message.text
    ):
        await connection.send("oops")


async def test_an_answer_never_goes_to_a_later_connection(page: Page, peer: Peer) -> None:
    first = await start(page, peer)
    await page.evaluate("() => client.on('x', () => new Promise((resolve) => { window.finish = resolve; }))")
    await first.send("x||1")
    await wait_until(page, "Boolean(window.finish)")
    await first.close(1012)
    second = await peer.accept()
    await wait_until(page, "client.state === 'open'")
    await page.evaluate("finish('late')")
    await expect_no_answer(page, second)


async def test_a_ping_is_answered_past_the_handlers(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => client.onUnknownEvent(() => 'not this')")
    await connection.send("__ping||9")
    assert await receive(connection) == "__ack___ping||9"


# Our questions


async def test_answers_are_matched_by_number_alone(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { window.asked = Promise.all([client.emitWithAck('a', 1), client.emitWithAck('b')]); }")
    assert [await receive(connection), await receive(connection)] == ["a||1||1", "b||2"]
    await connection.send("__ack_whatever||2||to b")
    await connection.send('__ack_a||1||{"to": "a"}')
    assert await page.evaluate("asked") == [{"to": "a"}, "to b"]


async def test_questions_are_numbered_from_one_on_each_connection(page: Page, peer: Peer) -> None:
    first = await start(page, peer)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('a')); }")
    assert await receive(first) == "a||1"
    await first.close(1012)
    second = await peer.accept()
    await wait_until(page, "client.state === 'open'")
    await page.evaluate("() => { window.asked = client.emitWithAck('b'); }")
    assert await receive(second) == "b||1"


async def test_a_question_times_out(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    assert await page.evaluate("fate(client.emitWithAck('x', null, { timeout: 20 }))") == ["AckTimeout", "ack_timeout"]
    await receive(connection)
    await connection.send("__ack_x||1||late")
    await connection.send("__ack_x||77||stray")
    assert await page.evaluate("seen") == ["connect"]
    await expect_no_answer(page, connection)


async def test_the_timeout_option_of_the_client_is_the_default(page: Page, peer: Peer) -> None:
    await start(page, peer, ackTimeout=20)
    assert await page.evaluate("fate(client.emitWithAck('x'))") == ["AckTimeout", "ack_timeout"]


async def test_a_question_may_wait_for_ever(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x', null, { timeout: Infinity })); }")
    assert await receive(connection) == "x||1"
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 20))")
    await connection.send("__ack_x||1||at last")
    assert await page.evaluate("asked") == ["resolved", "at last"]


async def test_a_signal_ends_the_wait_with_its_reason(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate(
        """() => {
            window.controller = new AbortController();
            window.asked = fate(client.emitWithAck("x", null, { signal: controller.signal }));
        }"""
    )
    assert await receive(connection) == "x||1"
    await page.evaluate("controller.abort(new DOMException('enough', 'DataError'))")
    assert (await page.evaluate("asked"))[0] == "DataError"


async def test_an_aborted_signal_sends_nothing(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    assert (await page.evaluate("fate(client.emitWithAck('x', null, { signal: AbortSignal.abort() }))"))[
        0
    ] == "AbortError"
    await expect_no_answer(page, connection)


@pytest.mark.parametrize("code", [1000, 1011, 4403])
async def test_questions_reject_at_once_when_the_connection_closes(page: Page, peer: Peer, code: int) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x')); }")
    assert await receive(connection) == "x||1"
    await connection.close(code)
    assert await page.evaluate("asked") == ["ConnectionLost", "connection_lost"]


async def test_questions_reject_at_once_when_the_client_closes(page: Page, peer: Peer) -> None:
    await start(page, peer)
    asked = "(() => { const asked = fate(client.emitWithAck('x')); client.close(); return asked; })()"
    assert await page.evaluate(asked) == ["ConnectionLost", "connection_lost"]


async def test_ping_measures_a_round_trip(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { window.pinged = client.ping(); }")
    assert await receive(connection) == "__ping||1"
    await connection.send("__ack___ping||1")
    assert 0 <= await page.evaluate("pinged") < TIMEOUT * 1000


async def test_ping_times_out(page: Page, peer: Peer) -> None:
    await start(page, peer)
    assert (await page.evaluate("fate(client.ping({ timeout: 20 }))"))[0] == "AckTimeout"


# The connection


async def test_connect_resolves_once_the_connection_is_there(page: Page, peer: Peer) -> None:
    assert await page.evaluate("start().then(() => client.state)") == "open"


async def test_close_ends_it_normally_and_for_good(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("client.close()")
    await connection.wait_closed()
    assert connection.close_code == 1000
    assert await page.evaluate("[client.state, seen]") == ["closed", ["connect", ["disconnect", 1000, True, False]]]


async def test_close_takes_a_code_and_a_reason(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("client.close(4000, 'gone fishing')")
    await connection.wait_closed()
    assert (connection.close_code, connection.close_reason) == (4000, "gone fishing")


async def test_a_closed_client_connects_again(page: Page, peer: Peer) -> None:
    await start(page, peer)
    await page.evaluate("(() => { client.close(); return client.connect(); })()")
    assert await page.evaluate("seen") == ["connect", ["disconnect", 1000, True, False], "connect"]


@pytest.mark.parametrize("code", [1001, 1011, 1012, 3000, 4000, 4008])
async def test_it_reconnects_after_a_close_that_is_not_normal(page: Page, peer: Peer, code: int) -> None:
    connection = await start(page, peer)
    await connection.close(code)
    await peer.accept()
    await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("seen") == ["connect", ["disconnect", code, False, True], "connect"]


async def test_it_reconnects_after_the_connection_broke(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    connection.transport.abort()
    await peer.accept()
    await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("seen[1]") == ["disconnect", 1006, False, True]


@pytest.mark.parametrize("code", [1000, 4401, 4403])
async def test_it_stays_away_after_a_final_close(page: Page, peer: Peer, code: int) -> None:
    connection = await start(page, peer)
    await connection.close(code)
    await wait_until(page, "client.state === 'closed'")
    assert await page.evaluate("seen[1]") == ["disconnect", code, code == 1000, False]


async def test_it_stays_away_where_it_was_told_not_to_reconnect(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, reconnect=False)
    await connection.close(1011)
    await wait_until(page, "client.state === 'closed'")
    assert await page.evaluate("seen[1]") == ["disconnect", 1011, False, False]


async def test_connect_rejects_when_the_client_gives_up(page: Page) -> None:
    assert (await page.evaluate("fate(start({ reconnect: false }, '/refused/'))"))[0] == "ConnectionLost"


async def test_close_ends_the_waiting_for_a_reconnect(page: Page) -> None:
    await page.evaluate("() => { window.opened = fate(start({ minDelay: 1 }, '/refused/')); }")
    await page.evaluate("client.close()")
    assert (await page.evaluate("opened"))[0] == "ConnectionLost"
    assert await page.evaluate("client.state") == "closed"


async def test_connect_tries_at_once_while_it_waits_to_reconnect(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, minDelay=3_600_000)
    await page.evaluate("() => { Math.random = () => 1; }")
    await connection.close(1011)
    await wait_until(page, "client.state === 'connecting'")
    await page.evaluate("client.connect()")
    assert await page.evaluate("client.state") == "open"


_RECORD_DELAYS = """(random) => {
    window.delays = [];
    Math.random = () => random;
    const setTimer = window.setTimeout;
    window.setTimeout = (call, delay) => { delays.push(delay); return setTimer(call, 0); };
}"""


@pytest.mark.parametrize("random", [0.0, 0.5, 0.75])
async def test_the_delay_is_drawn_below_a_limit_that_doubles(page: Page, random: float) -> None:
    await page.evaluate(_RECORD_DELAYS, random)
    await page.evaluate("() => { start({ minDelay: 100, maxDelay: 1000 }, '/refused/'); }")
    await wait_until(page, "delays.length >= 6")
    limits = [100, 200, 400, 800, 1000, 1000]
    assert await page.evaluate("delays.slice(0, 6)") == [limit * random for limit in limits]


async def test_a_connection_that_dies_young_does_not_reset_the_delay(page: Page, peer: Peer) -> None:
    await page.evaluate(_RECORD_DELAYS, 0.5)
    await page.evaluate("() => { performance.now = () => 0; }")
    connection = await start(page, peer, minDelay=100)
    for _ in range(3):
        await connection.close(1011)
        connection = await peer.accept()
        await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("delays.slice(0, 3)") == [50, 100, 200]


async def test_a_connection_that_lived_starts_the_delays_from_the_beginning(page: Page, peer: Peer) -> None:
    await page.evaluate(_RECORD_DELAYS, 0.5)
    connection = await start(page, peer, minDelay=100)
    for _ in range(2):
        await page.evaluate("() => { const now = performance.now(); performance.now = () => now + 5000; }")
        await connection.close(1011)
        connection = await peer.accept()
        await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("delays.slice(0, 2)") == [50, 50]


# Addresses


async def test_a_relative_url_takes_the_pages_host(page: Page, peer: Peer) -> None:
    async with page.expect_websocket() as opened:
        await start(page, peer)
    assert (await opened.value).url == f"ws://127.0.0.1:{peer.port}/ws/"


async def test_a_relative_url_on_an_https_page_is_wss(page: Page) -> None:
    await page.route("https://etp.test/**", answer_http)
    await _open(page, "https://etp.test/")
    async with page.expect_websocket() as opened:
        await page.evaluate("() => { start({ reconnect: false }); }")
    assert (await opened.value).url == "wss://etp.test/ws/"


async def test_an_absolute_http_url_becomes_ws(page: Page, peer: Peer) -> None:
    await page.evaluate("(url) => { start({}, url); }", f"{peer.url}ws/")
    assert (await peer.accept()).request.path == "/ws/"


# The extensions


async def test_extensions_are_offered_only_where_asked_for(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    assert connection.subprotocol is None
    await connection.send('__hello||0||{"id": "abc"}')
    await connection.send("__err_x||1")
    assert await receive(connection) == "__ack___err_x||1"
    assert await page.evaluate("client.id") is None


async def test_the_greeting_opens_the_connection_and_tells_its_id(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, extensions=True)
    assert connection.subprotocol == "etp.ext.v1"
    assert await page.evaluate("client.state") == "connecting"
    await connection.send('__hello||0||{"id": "abc"}')
    await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("[client.id, seen]") == ["abc", ["connect"]]


async def test_an_error_answer_rejects_with_its_code(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { window.asked = client.emitWithAck('x').catch((e) => [e.name, e.code, e.message]); }")
    await receive(connection)
    await connection.send('__err_x||1||{"code": "rate_limited", "message": "Too fast"}')
    assert await page.evaluate("asked") == ["EtpError", "rate_limited", "Too fast"]


async def test_a_failed_handler_is_answered_with_an_error(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => client.on('x', () => { throw new Error('secret'); })")
    await connection.send("x||4")
    assert await receive(connection) == '__err_x||4||{"code":"handler_error","message":"handler error"}'


async def test_an_unknown_event_is_answered_with_an_error(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await connection.send("x||4")
    assert await receive(connection) == '__err_x||4||{"code":"unknown_event","message":"unknown event"}'


async def start_extended(page: Page, peer: Peer) -> ServerConnection:
    connection = await start(page, peer, extensions=True)
    await connection.send('__hello||0||{"id": "abc"}')
    await wait_until(page, "client.state === 'open'")
    return connection


# Against django_etp


@pytest_asyncio.fixture(loop_scope="module")
async def real_page(tab: Page, server: Server) -> AsyncIterator[Page]:
    """As `page`, with the client connected to the reference server's handlers."""
    # The page itself is the server's own 404: Chromium lets no page from elsewhere connect to the loopback.
    await tab.route(f"http://{server.host}/etp.js", answer_http)
    await _open(tab, f"http://{server.host}/")
    await tab.evaluate("start()")
    yield tab
    await tab.goto("about:blank")


async def test_payloads_come_back_from_a_real_server(real_page: Page) -> None:
    values = ["text", 0, False, "", {"a": [1, None]}, [], "a||b", "приве́т 😀", "x" * 500_000]
    echoed = await real_page.evaluate(
        "(values) => Promise.all(values.map((v) => client.emitWithAck('echo', v)))", values
    )
    assert echoed == values


async def test_a_real_server_gets_the_handlers_answer(real_page: Page) -> None:
    await real_page.evaluate("() => client.on('question', async (question) => ({ asked: question }))")
    assert await real_page.evaluate("client.emitWithAck('ask', 'why')") == 'got:{"asked":"why"}'


async def test_a_real_server_gets_no_answer_where_the_handler_failed(real_page: Page) -> None:
    await real_page.evaluate("() => client.on('question', () => { throw new Error('sorry'); })")
    assert (await real_page.evaluate("client.emitWithAck('ask', 'why')")).startswith("err:")


async def test_a_real_server_answers_a_ping(real_page: Page) -> None:
    assert await real_page.evaluate("client.ping()") > 0


async def test_events_of_a_room_arrive_in_order(real_page: Page) -> None:
    await real_page.evaluate("() => client.on('news', (n) => seen.push(n))")
    await real_page.evaluate("Promise.all(Array.from({ length: 100 }, (_, n) => client.emitWithAck('broadcast', n)))")
    assert await real_page.evaluate("seen.slice(1)") == list(range(100))


async def test_a_connection_that_a_real_server_closed_stays_closed(real_page: Page) -> None:
    assert await real_page.evaluate("fate(client.emitWithAck('bye'))") == ["ConnectionLost", "connection_lost"]
    assert await real_page.evaluate("[client.state, seen]") == [
        "closed",
        ["connect", ["disconnect", 1000, True, False]],
    ]
