"""etp-streams.js in a real browser, against a server that the test plays itself, and in Node against a real server."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page
from websockets.asyncio.server import ServerConnection

from tests.javascript.test_package import compile_types, run_node
from tests.support.browser import CHROMIUM
from tests.support.servers import Server
from tests.support.tab import MODULE, Peer, expect_no_answer, open_page, receive, start, start_extended, wait_until

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

ALL = (MODULE.parent / "etp-all.js").as_uri()


@pytest_asyncio.fixture(loop_scope="session")
async def page(tab: Page, peer: Peer) -> AsyncIterator[Page]:
    """A new page with the module as `etp`, and `read(options)`, with `parts` and `over`."""
    await open_page(tab, peer.url, "etp-streams.js")
    await tab.evaluate(
        """() => {
            window.parts = [];
            window.read = (options) => {
                window.stream = client.stream("ask", { a: 1 }, options);
                window.over = fate((async () => {
                    for await (const part of stream) parts.push(part);
                })());
            };
        }"""
    )
    yield tab
    await tab.goto("about:blank")


async def parts(page: Page, count: int) -> Any:
    """Return the parts that the loop got, once there are so many."""
    await wait_until(page, f"parts.length >= {count}")
    return await page.evaluate("parts")


async def test_parts_come_one_by_one_until_the_answer(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("read()")
    assert await receive(connection) == 'ask||1||{"a":1}'
    await connection.send("__part_ask||1||one")
    assert await parts(page, 1) == ["one"]
    await connection.send('__part_ask||1||{"b":2}')
    await connection.send("__part_ask||9||of another number")
    await connection.send("__ack_ask||1")
    assert await page.evaluate("over") == ["resolved", None]
    assert await page.evaluate("parts") == ["one", {"b": 2}]
    await expect_no_answer(page, connection)


async def test_streams_side_by_side_are_kept_apart(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate(
        """() => {
            const all = async (stream) => {
                const found = [];
                for await (const part of stream) found.push(part);
                return found;
            };
            window.both = Promise.all([all(client.stream("ask")), all(client.stream("ask"))]);
        }"""
    )
    assert [await receive(connection) for _ in range(2)] == ["ask||1", "ask||2"]
    for frame in ("__part_ask||2||b", "__part_ask||1||a", "__ack_ask||1", "__part_ask||2||c", "__ack_ask||2"):
        await connection.send(frame)
    assert await page.evaluate("both") == [["a"], ["b", "c"]]


@pytest.mark.parametrize(("answer", "expected"), [("__ack_ask||1||all", ["all"]), ("__ack_ask||1", [])])
async def test_an_answer_that_is_not_streamed_is_the_only_part(
    page: Page, peer: Peer, answer: str, expected: list[str]
) -> None:
    connection = await start(page, peer)  # no extensions
    await page.evaluate("read()")
    await receive(connection)
    await connection.send(answer)
    assert await page.evaluate("over") == ["resolved", None]
    assert await page.evaluate("parts") == expected


async def test_a_failure_comes_behind_the_parts_with_its_details(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("read()")
    await receive(connection)
    await connection.send("__part_ask||1||one")
    await connection.send('__err_ask||1||{"code": "tired", "message": "No more", "details": {"at": 1}}')
    assert await page.evaluate("over") == ["EtpError", "tired"]
    assert await page.evaluate("parts") == ["one"]
    await expect_no_answer(page, connection)


async def test_a_loop_that_ends_early_stops_the_stream(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate(
        """() => {
            window.over = fate((async () => {
                for await (const part of client.stream("ask")) return part;
            })());
        }"""
    )
    await receive(connection)
    await connection.send("__part_ask||1||one")
    assert await page.evaluate("over") == ["resolved", "one"]
    assert await receive(connection) == "__stop_ask||1"
    await connection.send("__part_ask||1||that was on its way")
    await expect_no_answer(page, connection)
    assert "error" not in str(await page.evaluate("seen"))


async def test_a_part_that_is_late_stops_the_stream(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("read({ timeout: 50 })")
    await receive(connection)
    assert await page.evaluate("over") == ["AckTimeout", "ack_timeout"]
    assert await receive(connection) == "__stop_ask||1"


async def test_the_limit_of_the_client_is_that_of_a_part(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer, ackTimeout=50)
    await page.evaluate("read()")
    await receive(connection)
    assert await page.evaluate("over") == ["AckTimeout", "ack_timeout"]


async def test_a_signal_stops_the_stream(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("window.stopping = new AbortController(); read({ signal: stopping.signal })")
    await receive(connection)
    await connection.send("__part_ask||1||one")
    await parts(page, 1)
    await page.evaluate("stopping.abort()")
    assert (await page.evaluate("over"))[0] == "AbortError"
    assert await receive(connection) == "__stop_ask||1"


async def test_a_signal_that_comes_behind_the_answer_drops_the_parts_that_wait(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate(
        """() => {
            window.went = Promise.withResolvers();
            const stopping = new AbortController();
            window.over = fate((async () => {
                for await (const part of client.stream("ask", null, { signal: stopping.signal })) {
                    parts.push(part);
                    await went.promise;
                    stopping.abort();
                }
            })());
        }"""
    )
    await receive(connection)
    for frame in ("__part_ask||1||one", "__part_ask||1||two", "__ack_ask||1"):
        await connection.send(frame)
    await parts(page, 1)
    await page.evaluate("client.emitWithAck('a question').then(went.resolve) && null")
    assert await receive(connection) == "a question||2"
    await connection.send("__ack_a question||2")
    assert (await page.evaluate("over"))[0] == "AbortError"
    assert await page.evaluate("parts") == ["one"]
    await expect_no_answer(page, connection)


async def test_a_signal_that_was_given_before_sends_nothing(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("client.emit('before'); read({ signal: AbortSignal.abort() })")
    assert (await page.evaluate("over"))[0] == "AbortError"
    assert await receive(connection) == "before||0"
    await expect_no_answer(page, connection)


async def test_a_plain_server_is_not_asked_to_stop(page: Page, peer: Peer) -> None:
    connection = await start(page, peer)
    await page.evaluate("read({ timeout: 50 })")
    await receive(connection)
    assert await page.evaluate("over") == ["AckTimeout", "ack_timeout"]
    await expect_no_answer(page, connection)


async def test_the_end_of_the_connection_ends_the_stream(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate("read()")
    await receive(connection)
    await connection.send("__part_ask||1||one")
    await connection.close(1012)
    assert await page.evaluate("over") == ["ConnectionLost", "connection_lost"]
    assert await page.evaluate("parts") == ["one"]


async def test_a_loop_that_outlives_its_connection_stops_no_stream_of_the_next(page: Page, peer: Peer) -> None:
    connection = await start_extended(page, peer)
    await page.evaluate(
        """() => {
            window.going = Promise.withResolvers();
            const stopping = new AbortController();
            window.over = fate((async () => {
                for await (const part of client.stream("ask", null, { signal: stopping.signal })) {
                    stopping.abort();
                    await going.promise;
                    break;
                }
            })());
        }"""
    )
    await receive(connection)
    await connection.send("__part_ask||1||one")
    await connection.close(1012)
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "the next"}')
    await wait_until(page, "client.state === 'open'")
    await page.evaluate("going.resolve()")
    assert await page.evaluate("over") == ["resolved", None]
    await expect_no_answer(page, connection)


async def test_there_must_be_a_connection(page: Page, peer: Peer) -> None:
    await page.evaluate("window.client = new etp.EtpClient('/ws/'); read()")
    assert await page.evaluate("over") == ["ConnectionLost", "connection_lost"]


async def test_a_name_that_no_event_can_have_is_refused_at_once(page: Page, peer: Peer) -> None:
    await start_extended(page, peer)
    for name in ("a||b", "a|", "__ack_a", "__join"):
        assert await page.evaluate("(name) => fate(new Promise(() => client.stream(name)))", name) == [
            "EtpError",
            "invalid_event_name",
        ]


# Inside a declared room

CLASSES = {
    "etp-all.js": "all.EtpClient",
    "withStreams(rooms)": "all.withStreams(rooms.EtpClient)",
    "withRooms(streams)": "all.withRooms(streams.EtpClient)",
}


async def start_in_room(page: Page, peer: Peer, client: str = "all.EtpClient") -> ServerConnection:
    """Connect a client of another class, and let it join `orders/5`, which is then `room`; `read` reads in the room."""
    await page.evaluate(
        """async () => {
            window.all = await import("/etp-all.js");
            window.rooms = await import("/etp-rooms.js");
            window.streams = etp;
        }"""
    )
    await page.evaluate(f"etp = {{ EtpClient: {client} }}")
    connection = await start_extended(page, peer)
    await page.evaluate(
        """() => {
            window.room = client.room("orders/5");
            room.onLeft(({ code }) => seen.push(["left", code]));
            window.joined = room.join();
            client.stream = (...args) => room.stream(...args);
        }"""
    )
    await let_in(page, connection)
    return connection


async def let_in(page: Page, connection: ServerConnection) -> None:
    assert await receive(connection) == '__join||1||{"room":"orders/5"}'
    await connection.send('__ack___join||1||{"state":null}')
    await wait_until(page, "room.isJoined")


@pytest.mark.parametrize("client", CLASSES.values(), ids=CLASSES)
async def test_a_room_streams_in_a_client_of_both_kinds(page: Page, peer: Peer, client: str) -> None:
    connection = await start_in_room(page, peer, client)
    await page.evaluate("read()")
    assert await receive(connection) == '__in orders/5 ask||2||{"a":1}'
    await connection.send("__part___in orders/5 ask||2||one")
    assert await parts(page, 1) == ["one"]
    await connection.send('__part___in orders/5 ask||2||{"b":2}')
    await connection.send('__err___in orders/5 ask||2||{"code": "tired", "message": "No more"}')
    assert await page.evaluate("over") == ["EtpError", "tired"]
    assert await page.evaluate("parts") == ["one", {"b": 2}]
    await page.evaluate("read({ timeout: 50 })")
    assert await receive(connection) == '__in orders/5 ask||3||{"a":1}'
    assert await page.evaluate("over") == ["AckTimeout", "ack_timeout"]
    assert await receive(connection) == "__stop___in orders/5 ask||3"
    await page.evaluate(
        """() => {
            window.over = fate((async () => {
                for await (const part of room.stream("ask")) return part;
            })());
        }"""
    )
    assert await receive(connection) == "__in orders/5 ask||4"
    await connection.send("__part___in orders/5 ask||4||three")
    assert await page.evaluate("over") == ["resolved", "three"]
    assert await receive(connection) == "__stop___in orders/5 ask||4"
    await expect_no_answer(page, connection)


async def test_the_server_takes_the_client_out_of_the_room_of_a_stream(page: Page, peer: Peer) -> None:
    connection = await start_in_room(page, peer)
    await page.evaluate("read()")
    await receive(connection)
    await connection.send("__part___in orders/5 ask||2||one")
    await connection.send('__left||0||{"room": "orders/5", "code": "removed", "message": "Gone."}')
    assert await page.evaluate("over") == ["EtpError", "removed"]
    assert await page.evaluate("parts") == ["one"]
    assert await page.evaluate("seen.filter(([kind]) => kind === 'left')") == [["left", "removed"]]
    await page.evaluate("read()")
    assert await page.evaluate("over") == ["EtpError", "permission_denied"]
    await expect_no_answer(page, connection)


async def test_a_client_that_leaves_the_room_gets_no_further_part(page: Page, peer: Peer) -> None:
    connection = await start_in_room(page, peer)
    await page.evaluate(
        """() => {
            window.over = fate((async () => {
                for await (const part of room.stream("ask")) {
                    parts.push(part);
                    await client.emitWithAck("a question");
                    room.leave();
                }
            })());
        }"""
    )
    await receive(connection)
    await connection.send("__part___in orders/5 ask||2||one")
    assert await receive(connection) == "a question||3"
    await connection.send("__part___in orders/5 ask||2||two")
    await connection.send("__ack_a question||3")
    assert await receive(connection) == '__leave||4||{"room":"orders/5"}'
    assert await receive(connection) == "__stop___in orders/5 ask||2"
    await connection.send('__err___in orders/5 ask||2||{"code": "left"}')
    assert await page.evaluate("over") == ["EtpError", "left"]
    assert await page.evaluate("parts") == ["one"]
    await expect_no_answer(page, connection)


async def test_a_stream_in_a_room_waits_for_the_return_and_none_is_repeated(page: Page, peer: Peer) -> None:
    connection = await start_in_room(page, peer)
    await page.evaluate("read()")
    await receive(connection)
    await connection.close(1012)
    assert await page.evaluate("over") == ["ConnectionLost", "connection_lost"]
    connection = await peer.accept()
    await connection.send('__hello||0||{"id": "the next"}')
    await wait_until(page, "client.state === 'open'")
    await page.evaluate("window.stopping = new AbortController(); read({ signal: stopping.signal }); stopping.abort()")
    assert (await page.evaluate("over"))[0] == "AbortError"  # without waiting for the return
    await page.evaluate("read()")
    await let_in(page, connection)
    assert await receive(connection) == '__in orders/5 ask||2||{"a":1}'
    await connection.send("__ack___in orders/5 ask||2||all")
    assert await page.evaluate("over") == ["resolved", None]
    assert await page.evaluate("parts") == ["all"]
    await expect_no_answer(page, connection)


async def test_a_room_refuses_streams_of_other_names_and_without_streams(page: Page, peer: Peer) -> None:
    await start_in_room(page, peer)
    refusal = "(name) => fate(new Promise(() => client.stream(name)))"
    for name in ("a||b", "a|", "__in orders/6 ask"):
        assert await page.evaluate(refusal, name) == ["EtpError", "invalid_event_name"]
    code = "new Promise(() => new rooms.EtpClient('/ws/').room('a').stream('ask')).catch(String)"
    assert "TypeError: room.stream() needs a client with streams" in await page.evaluate(code)


# Against a real server, in Node


async def test_a_real_server_streams_and_stops(server: Server) -> None:
    code = """
        const client = new etp.EtpClient("%s");
        await client.connect();
        const some = [];
        for await (const { number } of client.stream("numbers", 3)) some.push(number);
        const ended = new Promise((resolve) => client.on("numbers ended", resolve));
        let last;
        for await (const { number } of client.stream("numbers")) if ((last = number) === 20) break;
        const first = await ended;

        const room = client.room("declared/a");
        await room.join();
        const inside = [];
        for await (const { number } of room.stream("numbers", 3)) inside.push(number);
        const endless = room.stream("numbers");
        await endless.next();
        const over = new Promise((resolve) => client.on("numbers ended", resolve));
        await room.leave();
        const code = await endless.next().catch(({ code }) => code);
        console.log(JSON.stringify([some, last, first >= 20, inside, code, typeof (await over)]));
        client.close();
    """
    expected = [[0, 1, 2], 20, True, [0, 1, 2], "left", "number"]
    assert await asyncio.to_thread(run_node, code % server.ws_url("/cluster/"), module=ALL) == expected


# The package


async def test_the_types_describe_streams_and_all_modules_at_once(tmp_path: Path) -> None:
    shutil.copytree(MODULE.parent, tmp_path / "node_modules" / "django-etp")
    (tmp_path / "a.mts").write_text(
        """
        import { EtpClient, withStreams } from "django-etp/streams";
        import { EtpClient as RoomsClient } from "django-etp/rooms";
        import { EtpClient as Everything } from "django-etp/all";
        const client = new EtpClient("/ws/");
        for await (const part of client.stream<{ n: number }>("ask", 1, { timeout: 5 })) part.n.toFixed();
        // @ts-expect-error
        for await (const part of client.stream<{ n: number }>("ask")) part.m;
        const both = new (withStreams(RoomsClient))("/ws/");
        both.room("a").join();
        both.stream("ask").return();
        both.room("a").stream("ask").return();
        const all = new Everything("/ws/");
        all.room("a").members.size;
        all.stream("ask", 1, { signal: new AbortController().signal });
        """
    )
    assert compile_types(tmp_path, "a.mts") == ""


async def test_one_import_has_all_modules(tmp_path: Path) -> None:
    shutil.copytree(MODULE.parent, tmp_path / "node_modules" / "django-etp")
    code = """
        const client = new etp.EtpClient("ws://127.0.0.1:1/");
        console.log(JSON.stringify([Object.keys(etp).sort(), typeof client.stream, client.room("a").memberCount]));
    """
    names = ["AckTimeout", "ConnectionLost", "EtpClient", "EtpError", "decode", "encode"]
    expected = sorted([*names, "withPresence", "withRooms", "withStreams"])
    assert run_node(code, directory=tmp_path, module="django-etp/all") == [expected, "function", 0]
