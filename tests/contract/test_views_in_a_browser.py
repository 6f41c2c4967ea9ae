"""The page of the contract in a real browser, also under a policy of the project that is as strict."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from django.test import AsyncClient
from playwright.async_api import ConsoleMessage, Page, Route, expect

from django_etp import Connection, etp_event
from tests.support.browser import CHROMIUM
from tests.support.contracts import NAMESPACE, declare

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("etp_registry"),
    pytest.mark.urls("tests.contract.test_views"),
]

PAGE = "http://shop.test/contract/shop/"
HOSTILE = "<img src=x onerror=alert(1)>"


async def hostile(connection: Connection, event: Any) -> None:
    """</p><script>alert(2)</script> & <b>more</b>"""


@pytest_asyncio.fixture(loop_scope="session")
async def shown(tab: Page, settings: Any) -> AsyncIterator[tuple[Page, list[str]]]:
    """The page in a tab, and the complaints of the console.

    Beside the page's own policy there is one of the project, which allows nothing but scripts and styles.
    """
    settings.DEBUG = True
    kept = declare()
    etp_event(HOSTILE, namespace=NAMESPACE)(hostile)
    complaints: list[str] = []
    client = AsyncClient()

    async def answer(route: Route) -> None:
        response = await client.get(route.request.url.removeprefix("http://shop.test"))
        headers = dict(response.items())
        if policy := headers.get("Content-Security-Policy"):
            headers["Content-Security-Policy"] = f"{policy}, default-src 'none'; script-src 'self'; style-src 'self'"
        await route.fulfill(status=response.status_code, headers=headers, body=response.content)

    def note(message: Any) -> None:
        complaints.append(message.text if isinstance(message, ConsoleMessage) else str(message))

    tab.on("console", note)
    tab.on("pageerror", note)
    await tab.route("http://shop.test/**", answer)
    await tab.goto(PAGE)
    yield tab, complaints
    await tab.unroute("http://shop.test/**")
    tab.remove_listener("console", note)
    tab.remove_listener("pageerror", note)
    await tab.goto("about:blank")
    assert kept


async def test_nothing_is_refused_and_what_would_be_is_noticed(shown: tuple[Page, list[str]]) -> None:
    page, complaints = shown
    await expect(page.get_by_role("searchbox", name="Filter")).to_be_visible()  # by the script
    assert await page.evaluate("getComputedStyle(document.body).margin") == "0px"  # by the style
    assert complaints == []
    await page.evaluate("document.body.setAttribute('onclick', '1')")
    await page.evaluate("document.body.click()")
    assert len(complaints) == 2  # one for each policy
    assert all("Content Security Policy" in complaint for complaint in complaints)


async def test_names_and_docstrings_are_text(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    await expect(page.get_by_role("heading", name=HOSTILE, exact=True)).to_be_visible()
    await expect(page.get_by_text("</p><script>alert(2)</script> & <b>more</b>")).to_be_visible()
    assert await page.locator("img, main script, main b").count() == 0


async def test_the_filter_shows_the_entries_with_all_its_words(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    entries = page.locator("[data-entry]")
    every = await entries.count()
    await page.keyboard.press("Tab")  # the link that skips the head
    await expect(page.get_by_role("link", name="Skip to the contract")).to_be_focused()
    box = page.get_by_role("searchbox", name="Filter")
    await box.fill("ORDERS shop.view")
    await expect(page.locator("[data-entry]:visible h3")).to_have_text(["orders/<int:pk> presence"])
    await expect(page.get_by_role("status")).to_have_text(f"1 of {every}")
    await expect(page.get_by_role("navigation").locator("li li:visible")).to_have_text(["orders/<int:pk>"])
    await expect(page.locator("h2:visible")).to_have_text(["Rooms"])

    await page.locator("[data-entry]:visible").get_by_role("link", name="Page", exact=True).click()
    await expect(page.locator("#type-Page")).to_be_in_viewport()  # the filter hid it
    await expect(box).to_have_value("")

    await box.fill("no such thing")
    await expect(page.get_by_text("Nothing matches.")).to_be_visible()
    await box.fill("")
    await expect(page.locator("[data-entry]:visible")).to_have_count(every)


async def test_it_fits_a_phone(shown: tuple[Page, list[str]]) -> None:
    page, _ = shown
    before = page.viewport_size
    await page.set_viewport_size({"width": 320, "height": 600})
    try:
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
    finally:
        assert before is not None
        await page.set_viewport_size(before)
