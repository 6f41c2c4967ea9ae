"""etp-streams.js in a real browser, against a server that the test plays itself, and in Node against a real server."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.javascript.test_package import compile_types, run_node
from tests.support.browser import CHROMIUM
from tests.support.servers import Server
from tests.support.tab import MODULE, Peer, expect_no_answer, open_page, receive, start, start_extended, wait_until

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

STREAMS = (MODULE.parent / "etp-streams.js").as_uri()


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
    for name in ("a||b", "__ack_a"):
        assert await page.evaluate("(name) => fate(new Promise(() => client.stream(name)))", name) == [
            "EtpError",
            "invalid_event_name",
        ]


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
        console.log(JSON.stringify([some, last, (await ended) >= 20]));
        client.close();
    """
    assert await asyncio.to_thread(run_node, code % server.ws_url("/cluster/"), module=STREAMS) == [[0, 1, 2], 20, True]


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
