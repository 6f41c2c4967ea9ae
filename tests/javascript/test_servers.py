"""etp.js in a real browser against django_etp on real servers."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page

from tests.support.browser import CHROMIUM
from tests.support.peers import eventually
from tests.support.servers import Server, held_port, start_server
from tests.support.tab import answer_http, open_page, wait_until
from tests.support.visitors import copy_sqlite, make_sqlite, settings_for

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


# Against django_etp


@pytest_asyncio.fixture(loop_scope="session")
async def real_page(tab: Page, server: Server) -> AsyncIterator[Page]:
    """As `page`, with the client connected to the reference server's handlers."""
    await connect(tab, server)
    yield tab
    await tab.goto("about:blank")


async def connect(page: Page, server: Server, path: str = "/ws/", module: str = "etp.js", **options: Any) -> None:
    """Load a page of this server, and connect its client."""
    # The page itself is the server's own 404: Chromium lets no page from elsewhere connect to the loopback.
    await page.route(f"http://{server.host}/*.js", answer_http)
    await open_page(page, f"http://{server.host}/", module)
    await page.evaluate("([options, path]) => start(options, path)", [options, path])


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


@pytest.mark.parametrize("server", ["daphne", "uvicorn"], indirect=True)
async def test_each_of_10_000_questions_gets_its_answer(real_page: Page) -> None:
    answers = await real_page.evaluate(
        """async () => {
            const answers = [];
            for (let n = 0; n < 10_000; n += 500) {
                const batch = Array.from({ length: 500 }, (_, m) => client.emitWithAck("echo", n + m));
                answers.push(...(await Promise.all(batch)));
            }
            return answers;
        }"""
    )
    assert answers == list(range(10_000))


async def test_two_tabs_are_two_members(real_page: Page, server: Server) -> None:
    here = await real_page.evaluate("client.emitWithAck('broadcast', 'first')")
    assert real_page.context.browser is not None
    async with await real_page.context.browser.new_page() as other:
        await connect(other, server)
        await other.evaluate("() => client.on('news', (news) => seen.push(news))")
        assert await real_page.evaluate("client.emitWithAck('broadcast', 'second')") == here + 1
        await wait_until(other, "seen.includes('second')")

    async def members() -> int:
        count: int = await real_page.evaluate("client.emitWithAck('broadcast', 'third')")
        return count

    await eventually(members, lambda count: count == here)


async def test_a_connection_has_its_id_from_a_real_server(tab: Page, server: Server) -> None:
    await connect(tab, server, extensions=True)
    assert len(await tab.evaluate("client.id")) == 49


async def test_failed_events_reject_with_their_codes(tab: Page, server: Server) -> None:
    await connect(tab, server, "/failing/", extensions=True)
    failures = await tab.evaluate(
        """async () => {
            const failures = {};
            for (const [event, data] of [
                ["fail", "handler_error"], ["fail", "permission_denied"], ["fail", "rate_limited"], ["fail", "no JSON"],
                ["nosuch"],
            ]) {
                const error = await client.emitWithAck(event, data).catch((error) => error);
                failures[data ?? event] = [error.name, error.code, error.message];
            }
            return failures;
        }"""
    )
    assert failures.pop("no JSON")[:2] == ["EtpError", "invalid_payload"]
    assert failures == {
        "handler_error": ["EtpError", "handler_error", "The handler failed."],
        "permission_denied": ["EtpError", "permission_denied", "This is not yours."],
        "rate_limited": ["EtpError", "rate_limited", "Not so fast."],
        "nosuch": ["EtpError", "unknown_event", "No handler for the event 'nosuch'."],
    }


async def test_events_past_the_servers_queue_reject_with_its_code(tab: Page, server: Server) -> None:
    await connect(tab, server, "/failing/", extensions=True, reconnect=False)
    fates = await tab.evaluate(
        """() => {
            client.on("never", () => new Promise(() => {}));
            return Promise.all(Array.from({ length: 1101 }, () => fate(client.emitWithAck("wait"))));
        }"""
    )
    # No more than one too many: a server that closes with input unread resets, and its last words may be lost.
    assert fates == [["ConnectionLost", "connection_lost"]] * 1100 + [["EtpError", "too_many_events"]]
    assert (await tab.evaluate("seen"))[-1][1] == server.close_code(1008)


async def test_a_real_server_is_told_why_a_handler_failed(tab: Page, server: Server) -> None:
    await connect(tab, server, "/failing/", extensions=True)
    assert await tab.evaluate("client.emitWithAck('ask')") == "unknown_event: No handler for this event"
    await tab.evaluate("() => client.once('question', () => { throw new Error('a secret'); })")
    assert await tab.evaluate("client.emitWithAck('ask')") == "handler_error: The handler failed"
    await tab.evaluate("() => client.on('question', () => { throw new etp.EtpError('Wait', 'rate_limited'); })")
    assert await tab.evaluate("client.emitWithAck('ask')") == "rate_limited: Wait"


async def test_a_page_joins_a_room_is_reached_inside_it_and_taken_out(tab: Page, server: Server) -> None:
    slug = secrets.token_hex(8)
    name = f"declared/{slug}"
    await connect(tab, server, "/cluster/", module="etp-rooms.js", extensions=True)
    await tab.evaluate(
        """async (name) => {
            window.room = client.room(name);
            room.on("news", (data) => seen.push(["news", data]));
            room.onLeft(({ code }) => seen.push(["left", code]));
            window.plain = new etp.EtpClient("/cluster/", { extensions: false });
            plain.on("news", (data) => seen.push(["plain", data]));
            await plain.connect();
            await plain.emitWithAck("join", [name]); // by the application
        }""",
        name,
    )
    assert await tab.evaluate("fate(room.join())") == ["resolved", {"name": slug}]
    await tab.evaluate("(name) => plain.emitWithAck('emit', [name, 'news', 'x'])", name)
    await wait_until(tab, "seen.length === 3")
    assert sorted((await tab.evaluate("seen"))[1:]) == [["news", "x"], ["plain", "x"]]
    assert await tab.evaluate("room.emitWithAck('say', 'hello')") == "hello"
    await tab.evaluate("(slug) => plain.emitWithAck('shut', JSON.stringify(slug))", slug)
    await tab.evaluate("(room) => plain.emitWithAck('call', ['recheck', [], { room }])", name)
    await wait_until(tab, "seen.length === 4")
    await tab.evaluate("(name) => plain.emitWithAck('emit', [name, 'news', 'y'])", name)
    await wait_until(tab, "seen.length === 5")
    await tab.evaluate("client.ping()")
    assert (await tab.evaluate("seen"))[3:] == [["left", "permission_denied"], ["plain", "y"]]
    assert await tab.evaluate("fate(room.join())") == ["EtpError", "permission_denied"]
    assert await tab.evaluate("fate(client.room('nosuch/5').join())") == ["EtpError", "not_found"]
    await tab.goto("about:blank")


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_page_may_offer_its_token_beside_a_subprotocol(tab: Page, kind: str) -> None:
    with start_server(kind) as server:
        await tab.goto(f"http://{server.host}/")
        opened = """(path) => new Promise((resolve) => {
            const socket = new WebSocket(path, ["access_token", "abc"]);
            socket.onopen = () => resolve(socket.protocol);
            socket.onclose = () => resolve("closed");
        })"""
        assert await tab.evaluate(opened, "/tokens/") == "access_token"
        assert await tab.evaluate(opened, "/ws/") == "closed"
        await tab.goto("about:blank")


_POST = """async ([view, body]) => {
    const headers = { "Content-Type": "application/json" };
    const response = await fetch(`/visits/${view}/`, { method: "POST", body: JSON.stringify(body), headers });
    return (await response.json()).result;
}"""


@asynccontextmanager
async def logged_in(tab: Page, tmp_path: Path, kind: str) -> AsyncIterator[Page]:
    """A page of a server where the user "ada" has logged in, with the client connected."""
    path = tmp_path / "made.sqlite3"
    await asyncio.to_thread(make_sqlite, path)
    settings = settings_for(copy_sqlite(path, tmp_path / "db.sqlite3"), ETP={"SESSION_CHECK_INTERVAL": 3600})
    with start_server(kind, settings=settings) as server:
        await tab.route(f"http://{server.host}/etp.js", answer_http)
        await tab.goto(f"http://{server.host}/")
        await tab.evaluate(_POST, ["sign_up", {"username": "ada"}])
        assert await tab.evaluate(_POST, ["log_in", {"username": "ada"}])
        await connect(tab, server, "/visits/")
        assert await tab.evaluate("client.emitWithAck('whoami')") == "ada"
        try:
            yield tab
        finally:
            await tab.goto("about:blank")
            await tab.context.clear_cookies()


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_page_whose_user_changes_the_password_comes_back_as_this_user(
    tab: Page, kind: str, tmp_path: Path
) -> None:
    async with logged_in(tab, tmp_path, kind) as page:
        for number in range(2):
            await page.evaluate(_POST, ["change_password", {"password": f"new {number}"}])
            await wait_until(page, f"seen.length === {3 + 2 * number}")
            assert await page.evaluate("seen.slice(-2)") == [["disconnect", 4401, False, True], "connect"]
            assert await page.evaluate("client.emitWithAck('whoami')") == "ada"
            await page.evaluate("() => { const now = performance.now(); performance.now = () => now + 5000; }")


async def test_a_page_whose_user_logs_out_stays_away(tab: Page, tmp_path: Path) -> None:
    async with logged_in(tab, tmp_path, "uvicorn") as page:
        await page.evaluate(_POST, ["log_out", {}])
        await wait_until(page, "client.state === 'closed'")
        assert await page.evaluate("seen") == ["connect", ["disconnect", 4401, False, False]]


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_page_whose_login_ended_does_not_come_back_in_a_loop(tab: Page, kind: str, tmp_path: Path) -> None:
    async with logged_in(tab, tmp_path, kind) as page:
        await page.evaluate(_POST, ["change_user", {"username": "ada", "how": "deactivate"}])
        await wait_until(page, "seen.length > 1 && client.state !== 'connecting'")
        await page.clock.install()
        await page.clock.run_for(60_000)
        ends = [each for each in await page.evaluate("seen") if each != "connect"]
        assert [code for _, code, *_ in ends] == [4401]


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_server_that_is_killed_and_comes_back(tab: Page, kind: str) -> None:
    with held_port() as port:
        with start_server(kind, port=port) as server:
            await connect(tab, server, module="etp-rooms.js", maxDelay=200)
            await tab.evaluate(
                """async () => {
                    window.member = new etp.EtpClient("/cluster/", { minDelay: 20, maxDelay: 200 });
                    window.room = member.room("declared/a");
                    window.inside = [];
                    room.on("news", (data) => inside.push(data));
                    member.connect();
                    await room.join();
                    room.onState((state) => inside.push(state));
                    window.asked = fate(client.emitWithAck("slow"));
                    client.on("news", (news) => seen.push(news));
                    return client.ping();
                }"""
            )
            server.kill()
            assert await tab.evaluate("asked") == ["ConnectionLost", "connection_lost"]
            await tab.evaluate("() => { for (const news of [1, 2, 3]) client.emit('broadcast', news); }")
            await wait_until(tab, "member.state !== 'open'")
            await tab.evaluate("() => member.emit('emit', ['declared/a', 'news', 'it hears what waited'])")
        with start_server(kind, port=port):
            await wait_until(tab, "seen.length === 6")
            assert sorted(await tab.evaluate("seen.slice(3)")) == [1, 2, 3]
            assert await tab.evaluate("seen.slice(0, 3)") == ["connect", ["disconnect", 1006, False, True], "connect"]
            await wait_until(tab, "inside.length === 2")
            assert await tab.evaluate("inside") == [{"name": "a"}, "it hears what waited"]
            assert await tab.evaluate("room.emitWithAck('say', 'hello')") == "hello"
            await tab.goto("about:blank")


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_server_that_is_frozen_is_given_up(tab: Page, kind: str) -> None:
    with start_server(kind) as server:
        await connect(tab, server, heartbeat=500, maxDelay=200)
        server.pause()
        try:
            await wait_until(tab, "client.state === 'connecting'")
        finally:
            server.resume()
        await wait_until(tab, "client.state === 'open'")
        assert await tab.evaluate("client.emitWithAck('echo', 'back')") == "back"
        await tab.goto("about:blank")


async def test_a_network_that_is_cut_and_comes_back(real_page: Page) -> None:
    await real_page.evaluate("() => { client.close(); return start({ heartbeat: 500, minDelay: 3_600_000 }); }")
    await real_page.evaluate("() => { Math.random = () => 1; }")
    await real_page.context.set_offline(True)
    try:
        await wait_until(real_page, "client.state === 'connecting'")
        await real_page.evaluate("() => client.emit('broadcast', 'waited')")
        await real_page.evaluate("() => client.on('news', (news) => seen.push(news))")
    finally:
        await real_page.context.set_offline(False)
    await wait_until(real_page, "seen.includes('waited')")
