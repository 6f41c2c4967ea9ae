"""etp.js in a real browser, frame by frame: what it sends, and what it makes of what comes."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page
from websockets.asyncio.server import ServerConnection

from tests.support.browser import CHROMIUM
from tests.support.tab import TIMEOUT, Peer, expect_no_answer, receive, start, start_extended, wait_until

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

VECTORS = json.loads((Path(__file__).parents[1] / "data" / "wire-vectors.json").read_text())


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


async def test_decode_reads_every_signed_64_bit_number(page: Page) -> None:
    numbers = ["-9223372036854775808", "9223372036854775807", "0" * 40 + "7"]
    decoded = await page.evaluate("(ids) => ids.map((id) => String(etp.decode(`a||${id}`).ackId))", numbers)
    assert decoded == [str(int(number)) for number in numbers]


async def test_decode_refuses_every_other_number(page: Page) -> None:
    numbers = ["-9223372036854775809", "9" * 40, "--1", "+-1", "٣", "1\n", "1n", ""]
    codes = "(ids) => ids.map((id) => { try { etp.decode(`a||${id}`); } catch (error) { return error.code; } })"
    assert await page.evaluate(codes, numbers) == ["invalid_frame"] * len(numbers)


async def test_encode_agrees_with_the_reference(page: Page) -> None:
    events = [vector for vector in VECTORS["encode"] if not vector["name"].startswith("__ack_")]
    frames = await page.evaluate(
        "(events) => events.map(({ name, ack_id, data }) => etp.encode({ name, ackId: BigInt(ack_id), data }))", events
    )
    assert frames == [vector["wire"] for vector in events]


async def test_encode_refuses_what_would_come_back_as_another_frame(page: Page) -> None:
    names = ["a||b", "a|", "|", "__ack_", "__ack_a"]
    codes = "(names) => names.map((name) => { try { etp.encode({ name }); } catch (error) { return error.code; } })"
    assert await page.evaluate(codes, names) == ["invalid_event_name"] * len(names)


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


async def test_what_json_cannot_hold_is_refused_and_nothing_is_sent(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    for value in ["() => 1", "Symbol()", "10n"]:
        assert (await page.evaluate(f"fate((async () => client.emit('x', {value}))())"))[0] == "TypeError"
        assert (await page.evaluate(f"fate(client.emitWithAck('x', {value}))"))[0] == "TypeError"
    await expect_no_answer(page, connection)


async def test_without_a_connection_emit_throws_and_a_question_rejects(page: Page, peer: Peer) -> None:
    await page.evaluate("() => { window.client = new etp.EtpClient('/ws/'); }")
    assert await page.evaluate("fate((async () => client.emit('x'))())") == ["ConnectionLost", "connection_lost"]
    assert await page.evaluate("fate(client.emitWithAck('x'))") == ["ConnectionLost", "connection_lost"]


async def test_names_that_are_not_for_events_are_refused(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    calls = ["emit(name)", "on(name, () => 1)", "once(name, () => 1)", "emitWithAck(name)"]
    for name, call in itertools.product(["__ping", "__x", "a||b", "a|"], calls):
        fate = await page.evaluate(f"(name) => fate((async () => client.{call})())", name)
        assert fate == ["EtpError", "invalid_event_name"]
    await expect_no_answer(page, connection)


# Codecs


async def start_with_codec(page: Page, peer: Peer, codec: str, **options: Any) -> ServerConnection:
    await page.evaluate(f"(options) => {{ start({{ ...options, codec: {codec} }}); }}", options)
    connection = await peer.accept()
    if options.get("extensions"):
        await connection.send('__hello||0||{"id": "abc"}')
    await wait_until(page, "client.state === 'open'")
    return connection


MINE = "{ prefix: '~', encode(value) { return this.prefix + value; }, decode(text) { return text.slice(1); } }"


@pytest.mark.parametrize(
    ("codec", "payload", "data"),
    [
        ("'json'", "'text'", '||"text"'),
        ("'json'", "''", '||""'),
        ("'json'", "{ a: 0 }", '||{"a":0}'),
        ("'json'", "null", ""),
        ("'json'", "undefined", ""),
        ("'text'", "'1'", "||1"),
        ("'text'", "null", ""),
        (MINE, "5", "||~5"),
        (MINE, "null", ""),
    ],
)
async def test_a_codec_writes_payloads(page: Page, peer: Peer, codec: str, payload: str, data: str) -> None:
    connection = await start_with_codec(page, peer, codec)
    await page.evaluate(f"() => {{ client.on('x', () => ({payload})); client.emit('x', {payload}); }}")
    assert await receive(connection) == f"x||0{data}"
    await connection.send("x||7")
    assert await receive(connection) == f"__ack_x||7{data}"


@pytest.mark.parametrize(
    ("codec", "data", "payload"),
    [
        ("'json'", '||"text"', "text"),
        ("'json'", "||false", False),
        ("'json'", "", None),
        ("'text'", "||1", "1"),
        ("'text'", "||null", "null"),
        ("'text'", "", ""),
        (MINE, "||~a", "a"),
    ],
)
async def test_a_codec_reads_payloads(page: Page, peer: Peer, codec: str, data: str, payload: Any) -> None:
    connection = await start_with_codec(page, peer, codec)
    await page.evaluate("() => { client.on('x', (payload) => seen.push(payload)); }")
    await page.evaluate("() => { window.asked = client.emitWithAck('y'); }")
    assert await receive(connection) == "y||1"
    await connection.send(f"x||0{data}")
    await connection.send(f"__ack_y||1{data}")
    assert await page.evaluate("asked") == payload
    assert await page.evaluate("seen[1]") == payload


async def test_the_text_codec_refuses_other_values(page: Page, peer: Peer) -> None:
    await start_with_codec(page, peer, "'text'")
    assert (await page.evaluate("fate(client.emitWithAck('x', { a: 1 }))"))[0] == "TypeError"


async def test_an_answer_that_the_codec_cannot_read_rejects(page: Page, peer: Peer) -> None:
    connection = await start_with_codec(page, peer, "'json'")
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x')); }")
    await receive(connection)
    await connection.send("__ack_x||1||no JSON")
    assert await page.evaluate("asked") == ["EtpError", "invalid_payload"]


async def test_an_event_that_the_codec_cannot_read_is_reported_and_not_answered(page: Page, peer: Peer) -> None:
    connection = await start_with_codec(page, peer, "'json'")
    await page.evaluate("() => client.on('x', () => seen.push('handled'))")
    await connection.send("x||1||no JSON")
    await wait_until(page, "seen.length === 2")
    assert await page.evaluate("seen[1]") == ["error", "invalid_payload"]
    await expect_no_answer(page, connection)


# Events that come


async def test_payloads_arrive_as_what_they_are(page: Page, peer: Peer) -> None:
    payloads: list[tuple[str, Any]] = [
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
    ]
    connection = await start(page, peer)
    await page.evaluate(
        "() => { seen.length = 0; client.on('x', (payload, event) => seen.push([payload, event.data])); }"
    )
    for data, _ in payloads:
        await connection.send(f"x||0{data}")
    await wait_until(page, f"seen.length === {len(payloads)}")
    assert await page.evaluate("seen") == [[payload, data.removeprefix("||")] for data, payload in payloads]


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        "4929123412341234567",
        "0.1234567890123456789",
        '"quoted"',
        '" "',
        '"',
        "007",
        "1e5",
        "1E400",
        "-0",
        " 5",
    ],
)
async def test_text_that_json_would_change_stays_what_it_is(page: Page, peer: Peer, text: str) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { client.on('x', (payload) => payload); }")
    await connection.send(f"x||1||{text}")
    assert await receive(connection) == f"__ack_x||1||{text}"
    await page.evaluate("() => { client.on('y', (payload) => seen.push(payload)); }")
    await connection.send(f"y||0||{text}")
    await wait_until(page, "seen.length === 2")
    assert await page.evaluate("seen[1]") == text


@pytest.mark.parametrize("number", [0, -1, 2.5, 1e21, 9007199254740991, 1.0, -3.0, 1e16, 1e-05, 1.5e300])
async def test_numbers_are_numbers_however_python_writes_them(page: Page, peer: Peer, number: float) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => { client.on('x', (payload) => seen.push(typeof payload, payload)); }")
    await connection.send(f"x||0||{json.dumps(number)}")
    await wait_until(page, "seen.length === 3")
    assert await page.evaluate("seen.slice(1)") == ["number", number]


async def test_a_binary_message_is_read_like_a_text_one(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("() => client.on('x', (payload) => payload)")
    await connection.send("x||1||приве́т 😀".encode())
    assert await receive(connection) == "__ack_x||1||приве́т 😀"


async def test_a_malformed_frame_is_reported_and_the_connection_stays(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    for frame in ["", "hello", "hello||x", b"hello||0||\xff"]:
        await connection.send(frame)
    await wait_until(page, "seen.length === 5")
    assert await page.evaluate("seen") == ["connect", *[["error", "invalid_frame"]] * 4]
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


async def test_what_a_handler_returns_is_the_answer(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    for handler, data in [
        ("() => 'text'", "||text"),
        ("async () => ({ a: 1 })", '||{"a":1}'),
        ("() => 0", "||0"),
        ("() => false", "||false"),
        ("() => ''", ""),
        ("() => null", ""),
        ("() => {}", ""),
    ]:
        await page.evaluate(f"() => {{ client.off('x'); client.on('x', {handler}); }}")
        await connection.send("x||7")
        assert await receive(connection) == f"__ack_x||7{data}"


async def test_the_answer_has_the_number_of_the_question(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    for number in ["9223372036854775807", "-9223372036854775808", "9007199254740993", "-1", "+5", "007"]:
        await connection.send(f"x||{number}")
        assert await receive(connection) == f"__ack_x||{int(number)}"


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


async def test_what_a_handler_returns_is_nobodys_where_no_answer_is_wanted(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, codec="text")
    await page.evaluate("() => { client.on('x', () => seen.push('x')); }")  # a number
    await connection.send("x||0")
    await wait_until(page, "seen.length > 1")
    await expect_no_answer(page, connection)
    assert await page.evaluate("seen") == ["connect", "x"]


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
    await page.evaluate(
        """() => {
            console.error = (error) => seen.push(error.code);
            window.client = new etp.EtpClient("/ws/");
            client.connect();
        }"""
    )
    await (await peer.accept()).send("oops")
    await wait_until(page, "seen.includes('invalid_frame')")


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


# The extensions


async def test_extensions_that_are_off_are_not_offered(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    assert connection.subprotocol is None
    await connection.send('__hello||0||{"id": "abc"}')
    await connection.send("__err_x||1")
    assert await receive(connection) == "__ack___err_x||1"
    assert await page.evaluate("client.id") is None


async def test_the_greeting_opens_the_connection_and_tells_its_id(page: Page, peer: Peer) -> None:
    connection = await start(page, peer, extensions=True)
    assert connection.request is not None
    assert connection.request.headers["Sec-WebSocket-Protocol"] == "etp.ext.v2, etp.ext.v1"
    assert await page.evaluate("client.state") == "connecting"
    await connection.send('__hello||0||{"id": "abc"}')
    await wait_until(page, "client.state === 'open'")
    assert await page.evaluate("[client.id, seen]") == ["abc", ["connect"]]


@pytest.mark.parametrize(
    "code",
    ["handler_error", "unknown_event", "invalid_payload", "permission_denied", "rate_limited", "too_many_events"],
)
async def test_an_error_answer_rejects_with_its_code(page: Page, peer: Peer, code: str) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { window.asked = client.emitWithAck('x').catch((e) => [e.name, e.code, e.message]); }")
    await receive(connection)
    await connection.send(f'__err_x||1||{{"code": "{code}", "message": "Because"}}')
    assert await page.evaluate("asked") == ["EtpError", code, "Because"]


@pytest.mark.parametrize("data", ["", "||", "||oops", "||null", "||[]"])
async def test_an_error_answer_that_says_nothing_is_a_handler_error(page: Page, peer: Peer, data: str) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => { window.asked = fate(client.emitWithAck('x')); }")
    await receive(connection)
    await connection.send(f"__err_x||1{data}")
    assert await page.evaluate("asked") == ["EtpError", "handler_error"]


async def test_a_second_greeting_changes_nothing(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await connection.send('__hello||0||{"id": "other"}')
    await connection.send("__ping||1")
    assert await receive(connection) == "__ack___ping||1"
    assert await page.evaluate("[client.id, seen]") == ["abc", ["connect"]]


async def test_a_failed_handler_is_answered_with_an_error(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => client.on('x', () => { throw new Error('secret'); })")
    await connection.send("x||4")
    assert await receive(connection) == '__err_x||4||{"code":"handler_error","message":"The handler failed"}'


async def test_an_unknown_event_is_answered_with_an_error(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await connection.send("x||4")
    assert await receive(connection) == '__err_x||4||{"code":"unknown_event","message":"No handler for this event"}'


async def test_a_handler_says_with_an_error_of_its_own_why_it_failed(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => client.on('x', () => { throw new etp.EtpError('Not so fast', 'rate_limited'); })")
    await connection.send("x||4")
    assert await receive(connection) == '__err_x||4||{"code":"rate_limited","message":"Not so fast"}'


async def test_a_handlers_own_question_that_failed_is_a_handler_error(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("() => client.on('x', () => client.emitWithAck('y', null, { timeout: 1 }))")
    await connection.send("x||4")
    assert await receive(connection) == "y||1"
    assert await receive(connection) == '__err_x||4||{"code":"handler_error","message":"The handler failed"}'


@pytest.mark.parametrize(
    ("call", "answer", "options"),
    [
        ("client.emitWithAck('y')", '__err_y||1||{"code": "permission_denied", "message": "No"}', {}),
        ("client.emitWithAck('y')", "__err_y||1", {}),
        ("client.emitWithAck('y')", "__ack_y||1||no JSON", {"codec": "json"}),
        ("client.emitWithAck('y').then(() => client.emit('__y'))", "__ack_y||1", {}),
        ("client.emitWithAck('y').then(() => etp.decode('no frame'))", "__ack_y||1", {}),
    ],
    ids=["failed", "failed for no reason", "unreadable", "no name", "no frame"],
)
async def test_what_fails_inside_a_handler_is_not_the_events_fault(
    page: Page, peer: Peer, call: str, answer: str, options: dict[str, str]
) -> None:
    connection = await start_extended(page, peer, **options)
    await page.evaluate(f"() => client.on('x', () => {call})")
    await connection.send("x||4")
    assert await receive(connection) == "y||1"
    await connection.send(answer)
    assert await receive(connection) == '__err_x||4||{"code":"handler_error","message":"The handler failed"}'


async def test_what_the_server_said_of_a_question_can_be_told_as_the_handlers_own(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate(
        """() => client.on("x", () => client.emitWithAck("y").catch(({ message, code }) => {
            throw new etp.EtpError(message, code);
        }))"""
    )
    await connection.send("x||4")
    assert await receive(connection) == "y||1"
    await connection.send('__err_y||1||{"code": "busy", "message": "Later"}')
    assert await receive(connection) == '__err_x||4||{"code":"busy","message":"Later"}'


async def test_an_event_that_the_codec_cannot_read_is_answered_with_an_error(page: Page, peer: Peer) -> None:
    connection = await start_with_codec(page, peer, "'json'", extensions=True)
    await page.evaluate("() => client.on('x', () => 1)")
    await connection.send("x||4||no JSON")
    frame, _, data = (await receive(connection)).rpartition("||")
    assert frame == "__err_x||4"
    assert json.loads(data)["code"] == "invalid_payload"


async def test_an_answer_that_the_codec_cannot_write_is_a_handler_error(page: Page, peer: Peer) -> None:
    connection = await start_with_codec(page, peer, "'text'", extensions=True)
    await page.evaluate("() => client.on('x', () => ({}))")
    await connection.send("x||4")
    assert await receive(connection) == '__err_x||4||{"code":"handler_error","message":"The handler failed"}'
