"""Pages with positions in a real browser: no edit between rendering and connecting is missed."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.template import Engine, RequestContext
from django.test import RequestFactory
from playwright.async_api import Page
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from django_etp import Connection, History, etp_room, rooms
from django_etp.middleware import PositionMiddleware
from django_etp.testing import EtpCommunicator
from tests.depot.models import Order
from tests.support import tab as tabs
from tests.support.browser import CHROMIUM
from tests.support.tab import Peer, open_page, wait_until

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("etp_registry"),
]

# ETP_PAGES=200 loads so many pages.
PAGES = int(os.environ.get("ETP_PAGES", 20))
PLACES = ["before the query", "queried", "rendered", "connecting", "joining"]
TEMPLATE = Engine(libraries={"etp": "django_etp.templatetags.etp"}).from_string(
    "{% load etp %}<!doctype html><p id='status'>{{ order.status }}</p>{% etp_room order_room pk=order.pk %}"
)


class Site(Peer):
    """A server with a page of one order, whose status changes at one place on the way of the page to its client."""

    def __init__(self, order: Order) -> None:
        super().__init__()
        self.order = order
        self.place = ""

    def reach(self, place: str) -> None:
        if place == self.place:
            self.order.status = f"{self.order.status[:4]}{place[:3]}"
            self.order.save()
            rooms.emit(f"orders/{self.order.pk}", "changed", self.order.status)

    def view(self, request: HttpRequest) -> HttpResponse:
        self.reach("before the query")
        order = Order.objects.get(pk=self.order.pk)
        self.reach("queried")
        text = TEMPLATE.render(RequestContext(request, {"order": order}))
        self.reach("rendered")
        return HttpResponse(text)

    async def answer_http(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path != "/":
            return await super().answer_http(connection, request)
        page: Any = await sync_to_async(PositionMiddleware(self.view))(RequestFactory().get("/"))
        return tabs._response(page.content.decode(), "text/html")

    async def serve(self, connection: ServerConnection) -> None:
        await sync_to_async(self.reach)("connecting")
        async with EtpCommunicator(subprotocols=["etp.ext.v2"]) as client, asyncio.TaskGroup() as group:

            async def answer() -> None:
                while True:
                    await connection.send(await client.receive_frame(timeout=tabs.TIMEOUT))

            answering = group.create_task(answer())
            async for frame in connection:
                if isinstance(frame, str) and frame.startswith("__join"):
                    await sync_to_async(self.reach)("joining")
                await client.send_frame(frame)
            answering.cancel()


@pytest_asyncio.fixture(loop_scope="session")
async def site() -> AsyncIterator[Site]:
    @etp_room("orders/<int:pk>", history=History())
    async def order_room(connection: Connection, pk: int) -> None: ...

    site = Site(await Order.objects.acreate(status="new"))
    async with serve(
        site.serve,
        "127.0.0.1",
        0,
        process_request=site.answer_http,
        select_subprotocol=lambda _, offered: offered[0] if offered else None,
        close_timeout=1,
    ) as server:
        site.port = server.sockets[0].getsockname()[1]
        yield site


async def test_a_page_misses_no_edit_between_rendering_and_connecting(tab: Page, site: Site) -> None:
    for number in range(PAGES):
        site.place, site.order.status = PLACES[number % len(PLACES)], f"{number:03} "
        await site.order.asave()
        await open_page(tab, site.url, "etp-rooms.js")
        await tab.evaluate(
            """async () => {
                const page = document.querySelector("etp-room");
                window.shown = document.querySelector("#status").textContent;
                start({ extensions: true });
                const room = client.room(page.getAttribute("name"), { since: page.getAttribute("position") });
                room.on("changed", (status) => { window.shown = status; });
                await room.join();
            }"""
        )
        await wait_until(tab, f"shown === '{number:03} {site.place[:3]}'")
    await tab.goto("about:blank")
