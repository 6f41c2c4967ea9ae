"""Test etp.js in a real tab of Chromium: the fixtures `browser`, `page` and `peer`, and helpers."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio
from playwright.async_api import Browser, Page, Route
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

import django_etp
from tests.support.browser import start_browser
from tests.support.peers import eventually

MODULE = Path(django_etp.__file__).parent / "static" / "django_etp" / "etp.js"
PAGE = "<!doctype html><title>etp.js</title>"
# The smallest policy for a page with etp.js, so the module may do nothing else.
POLICY = "default-src 'none'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'"
TIMEOUT = 10  # seconds, for anything that should arrive at once


class Peer:
    """A server whose ETP side the test plays itself; it also serves the page that the client runs in.

    While `is_refusing` is set it refuses all handshakes. It always refuses those at paths other than `/ws/`. It serves
    `files`, too, by their paths.
    """

    def __init__(self) -> None:
        self.connections: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.port = 0
        self.is_refusing = False
        self.refusals = 0
        self.silences = 0
        self.files: dict[str, Path] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def accept(self) -> ServerConnection:
        """Return the next connection that the browser opened."""
        return await asyncio.wait_for(self.connections.get(), TIMEOUT)

    async def serve(self, connection: ServerConnection) -> None:
        self.connections.put_nowait(connection)
        await connection.wait_closed()

    async def answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        match request.path.partition("?")[0]:
            case "/":
                return _response(PAGE, "text/html")
            case "/etp.js" | "/etp-rooms.js" | "/etp-presence.js" | "/etp-streams.js" | "/etp-all.js" as path:
                return _response((MODULE.parent / path[1:]).read_text(), "text/javascript")
            case path if file := self.files.get(path):
                return _response(file.read_text(), "text/html" if file.suffix == ".html" else "text/javascript")
            case "/ws/" if not self.is_refusing:
                return None
            case "/silent/":
                self.silences += 1
                await connection.wait_closed()
                return None
            case _:
                self.refusals += 1
                return Response(503, "Service Unavailable", Headers({"Content-Length": "0"}))


def _response(body: str, content_type: str) -> Response:
    content = body.encode()
    headers = {"Content-Type": content_type, "Content-Length": str(len(content)), "Connection": "close"}
    headers["Content-Security-Policy"] = POLICY
    return Response(200, "OK", Headers(headers), content)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests of a worker."""
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def tab(browser: Browser) -> Page:
    return await browser.new_page()


@pytest_asyncio.fixture(loop_scope="session")
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


@pytest_asyncio.fixture(loop_scope="session")
async def page(tab: Page, peer: Peer) -> AsyncIterator[Page]:
    """A new page with the module as `etp`; `start()` makes a `client` and records its events in `seen`."""
    await open_page(tab, peer.url)
    yield tab
    await tab.goto("about:blank")  # closes open connections


async def open_page(page: Page, url: str, module: str = "etp.js") -> None:
    """Load a page whose origin has the modules; see page()."""
    await page.goto(url)
    await page.evaluate(
        """async (module) => {
            window.etp = await import(`/${module}`);
            window.seen = [];
            document.addEventListener("securitypolicyviolation", (event) => seen.push(event.blockedURI));
            window.start = (options, url = "/ws/") => {
                window.client = new etp.EtpClient(url, { minDelay: 20, extensions: false, ...options });
                client.onConnect(() => seen.push("connect"));
                client.onDisconnect((how) => seen.push(["disconnect", how.code, how.isNormal, how.willReconnect]));
                client.onError((error) => seen.push(["error", error.code ?? error.message]));
                return client.connect();
            };
            window.fate = (promise) =>
                promise.then((value) => ["resolved", value], (error) => [error.name, error.code]);
        }""",
        module,
    )


async def start_extended(page: Page, peer: Peer, **options: Any) -> ServerConnection:
    """Connect the client with the extensions and greet it."""
    connection = await start(page, peer, extensions=True, **options)
    await connection.send('__hello||0||{"id": "abc"}')
    await wait_until(page, "client.state === 'open'")
    return connection


async def start(page: Page, peer: Peer, **options: Any) -> ServerConnection:
    """Connect the client and return the server's end."""
    await page.evaluate("(options) => { start(options); }", options)
    connection = await peer.accept()
    if not options.get("extensions"):  # otherwise it opens with the greeting
        await wait_until(page, "client.state === 'open'")
    return connection


async def take_back(page: Page, peer: Peer, connection: ServerConnection) -> ServerConnection:
    """End the connection as a restarting server does, and return the client's next connection."""
    await connection.close(1012)
    connection = await peer.accept()
    if connection.subprotocol:
        await connection.send('__hello||0||{"id": "abc"}')
    await wait_until(page, "client.state === 'open'")
    return connection


async def answer_http(route: Route) -> None:
    """Serve the page and the module for an origin that has neither."""
    if (module := MODULE.parent / route.request.url.rpartition("/")[2]).suffix == ".js":
        await route.fulfill(body=module.read_text(), content_type="text/javascript")
    else:
        await route.fulfill(body=PAGE, content_type="text/html")


async def wait_until(page: Page, expression: str) -> None:
    """Poll the page until the expression is true; the page's policy forbids Playwright's own method."""
    await eventually(lambda: page.evaluate(expression), bool, timeout=TIMEOUT, interval=0.01)


async def receive(connection: ServerConnection) -> str:
    frame = await asyncio.wait_for(connection.recv(), TIMEOUT)
    assert isinstance(frame, str), "the client writes text only"
    return frame


async def expect_no_answer(page: Page, connection: ServerConnection) -> None:
    """The client sends in order: once a marker emitted now is the next frame, nothing else was sent."""
    await page.evaluate("client.emit('marker')")
    assert await receive(connection) == "marker||0"
