"""The example's chat as its users meet it: several people in real browsers, on a real daphne."""

import asyncio
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Route, WebSocketRoute, expect

from tests.support.browser import CHROMIUM
from tests.support.peers import eventually
from tests.support.servers import ROOT, Server, held_port, start_server

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PHONE = {"viewport": {"width": 360, "height": 720}, "has_touch": True, "is_mobile": True}
RECEIVED = "Received by the server"
AT_ONCE = 50  # messages of the past that a page reads
# The live page needs no more than this, nor does the rest of the admin.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'"
)

expect.set_options(timeout=15_000)  # milliseconds; what is expected comes at once, but the machine may be busy

Enter = Callable[..., Awaitable[Page]]


@contextmanager
def start_chat(database: Path, port: int = 0) -> Iterator[Server]:
    env = {"DATABASE_FILE": str(database), "DJANGO_SETTINGS_MODULE": "tests.support.chat_settings"}
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=os.environ | env, check=True)
    with start_server("daphne", "example_project.asgi:application", env=env, port=port) as server:
        yield server


def make_users(database: Path) -> None:
    """Create Host, who is on the staff, and let the user "admin" with the password "secret" into the admin.

    The observatory has a past then.
    """
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    script = "\n".join(
        [
            "from django.contrib.auth.models import User",
            "from django.core.management import call_command",
            "call_command('seed')",
            "admin = User.objects.create_superuser('admin', password='secret')",
            "from django_etp import rooms",
            "from example_project.chat.messages import new_message",
            f"for number in range({2 * AT_ONCE + 20}):",
            "    message = new_message('observatory', admin, f'of old, {number}')",
            "    rooms.emit('rooms/observatory', 'message', message)",
        ]
    )
    make = [sys.executable, "manage.py", "shell", "-v0", "-c", script]
    subprocess.run(make, cwd=ROOT, env=environment | {"DATABASE_FILE": str(database)}, check=True)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("chat") / "chat.sqlite3"


@pytest.fixture(scope="module")
def chat(database: Path) -> Iterator[Server]:
    with start_chat(database) as server:
        make_users(database)
        yield server
        assert server.complaints == []
        assert "Traceback" not in server.log


@pytest_asyncio.fixture(loop_scope="session")
async def enter(browser: Browser) -> AsyncIterator[Enter]:
    """`await enter(server, name)` lets somebody with a browser profile of their own into the lobby.

    At the end no page may have met an error.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    async def enter(
        server: Server,
        name: str,
        *,
        password: str = "",
        prepare: Callable[[Page], Awaitable[None]] | None = None,
        **options: Any,
    ) -> Page:
        context = await browser.new_context(**options)
        contexts.append(context)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = await context.new_page()
        if prepare is not None:
            await prepare(page)
        await page.goto(f"http://{server.host}/")
        await page.get_by_label("Your name").fill(name)
        await page.get_by_label("Password").fill(password)
        await page.get_by_role("button", name="Come in").click()
        await expect_to_be_in(page, name)
        return page

    yield enter
    for context in contexts:
        await context.close()
    assert errors == []


async def expect_to_be_in(page: Page, name: str) -> None:
    """The server has let the page into its room: its user is among the people there."""
    await expect(page.locator("#people-list .person").filter(has_text="you")).to_contain_text(name)


async def say(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Message").fill(text)
    await page.keyboard.press("Enter")


async def say_at_once(page: Page, texts: list[str]) -> None:
    await page.evaluate(
        """(texts) => {
            for (const text of texts) {
                document.getElementById("text").value = text;
                document.getElementById("composer").requestSubmit();
            }
        }""",
        texts,
    )


async def open_admin(page: Page, server: Server) -> None:
    await page.goto(f"http://{server.host}/admin/login/")
    await page.get_by_label("Username").fill("admin")
    await page.get_by_label("Password").fill("secret")
    await page.get_by_role("button", name="Log in").click()


async def set_staff(admin: Page, server: Server, name: str, is_staff: bool) -> None:
    """Make a user a member of the staff in the admin, or no member."""
    await admin.goto(f"http://{server.host}/admin/auth/user/?q={name}")
    await admin.locator("#result_list").get_by_role("link", name=name, exact=True).click()
    await admin.get_by_label("Staff status").set_checked(is_staff)
    await admin.get_by_role("button", name="Save", exact=True).click()
    await expect(admin.locator(".messagelist .success")).to_contain_text(name)


async def log_out(page: Page) -> None:
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Your name")).to_be_visible()


async def tab_to(page: Page, role: Any, name: str, *, within: int = 20) -> None:
    """Press Tab until it reaches something, which then shows that it has the focus."""
    for _ in range(within):
        await page.keyboard.press("Tab")
        target = page.get_by_role(role, name=name).first
        if await target.evaluate("(element) => element === document.activeElement"):
            assert await target.evaluate("(element) => getComputedStyle(element).outlineStyle") == "solid"
            return
    raise AssertionError(f"Tab never reached the {role} {name!r}")


async def watch_typing(page: Page) -> None:
    """Note in `typists` what the page says about who is typing: it says so for seconds only."""
    await page.evaluate(
        """() => {
            const line = document.getElementById("typing");
            window.typists = [];
            new MutationObserver(() => typists.push(line.textContent)).observe(line, { childList: true });
        }"""
    )


def people(page: Page) -> Any:
    return page.locator("#people-list .name")


def message(page: Page, text: str) -> Any:
    return page.locator("#log .message").filter(has_text=text)


def end(page: Page) -> Any:
    """Return the last line of the list: a message, or word of somebody who left after an earlier test."""
    return page.locator("#log li").last


async def test_people_see_who_is_there(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await expect(people(ada)).to_have_text(["Ada", "Grace"])
    await expect(people(grace)).to_have_text(["Ada", "Grace"])
    await expect(ada.get_by_role("log")).to_contain_text("Grace came in")


async def test_people_see_who_left(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await expect(people(ada)).to_have_text(["Ada", "Grace"])
    await grace.close()
    await expect(people(ada)).to_have_text(["Ada"])
    await expect(ada.get_by_role("log")).to_contain_text("Grace left")


async def test_a_user_with_two_windows_is_there_once(chat: Server, enter: Enter) -> None:
    first = await enter(chat, "Ada")
    second = await first.context.new_page()
    await second.goto(f"http://{chat.host}/")
    await expect_to_be_in(second, "Ada")
    await expect(people(first)).to_have_text(["Ada"])
    await say(second, "from my other window")
    await expect(message(first, "from my other window")).to_have_class(re.compile("mine"))


async def test_a_message_reaches_the_others_with_its_authors_name(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await say(ada, "Hello Grace")
    await expect(message(grace, "Hello Grace").locator(".author")).to_have_text("Ada")


async def test_an_acked_message_gets_its_tick(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    await say(ada, "ticked")
    await expect(message(ada, "ticked").locator(".tick")).to_have_text(RECEIVED)
    await expect(message(ada, "ticked")).to_have_count(1)


async def test_the_others_see_somebody_type(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await watch_typing(ada)
    await watch_typing(grace)
    await ada.get_by_role("textbox", name="Message").press_sequentially("Hel")
    await grace.wait_for_function("typists.at(-1) === 'Ada is typing'")
    await say(ada, "Hello")
    await expect(message(grace, "Hello").last).to_be_visible()
    await grace.wait_for_function("typists.at(-1) === ''")
    assert await ada.evaluate("typists") == []


async def test_typing_fades_where_nothing_follows(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await watch_typing(grace)
    await ada.get_by_role("textbox", name="Message").press_sequentially("H")
    await grace.wait_for_function("String(typists) === 'Ada is typing,'")


async def test_an_announcement_reaches_the_room_through_the_form(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await ada.get_by_role("button", name="Announce").click()
    await ada.get_by_role("textbox", name="Announcement").fill("Tea at four")
    await ada.get_by_role("dialog").get_by_role("button", name="Announce").click()
    for page in (ada, grace):
        await expect(page.locator(".announcement").filter(has_text="Tea at four")).to_contain_text("Ada announces")
    await expect(ada.get_by_role("dialog")).to_be_hidden()


async def test_orders_that_are_edited_in_the_admin_change_on_an_open_page(chat: Server, enter: Enter) -> None:
    page = await enter(chat, "Grace")
    await page.goto(f"http://{chat.host}/orders/")
    orders = page.get_by_role("list", name="Orders").get_by_role("listitem")
    await expect(page.get_by_role("status")).to_be_empty()
    admin = await enter(chat, "Ada")
    await open_admin(admin, chat)
    await admin.goto(f"http://{chat.host}/admin/orders/order/add/")
    await admin.get_by_role("textbox", name="Customer:").fill("Grace")
    await admin.get_by_role("textbox", name="Item:").fill("A kettle")
    await admin.get_by_role("button", name="Save", exact=True).click()
    await expect(orders).to_have_text(["A kettle for Grace: New"])
    await admin.locator("[name=form-0-status]").select_option("paid")
    await admin.get_by_role("button", name="Save").click()
    await expect(orders).to_have_text(["A kettle for Grace: Paid"])


async def open_assistant(page: Page, server: Server) -> list[str]:
    """Open the assistant's page; return the list that what the browser complains about goes into."""
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))  # the policy's violations, too
    await page.goto(f"http://{server.host}/assistant/")
    return complaints


def panel(page: Page, title: str) -> Any:
    return page.get_by_role("region", name=title, exact=True)


def answer(page: Page, title: str) -> Any:
    return page.get_by_role("region", name=f"Answer {title.lower()}")


async def test_stop_ends_a_stream_in_the_page_and_on_the_server(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada", **PHONE)
    complaints = await open_assistant(ada, chat)
    await panel(ada, "For this tab").get_by_label("Question").fill("Why? " + "w" * 200)
    await ada.keyboard.press("Enter")
    await expect(answer(ada, "For this tab")).to_contain_text("You asked: “Why?")
    await expect(answer(ada, "For this tab")).to_have_attribute("aria-busy", "true")
    await tab_to(ada, "button", "Stop")
    await ada.keyboard.press("Enter")
    await expect(panel(ada, "For this tab").get_by_role("status")).to_have_text("Stopped.")
    await expect(panel(ada, "For this tab").get_by_label("Question")).to_be_focused()
    await expect(answer(ada, "For this tab")).to_have_attribute("aria-busy", "false")
    assert await ada.evaluate("document.documentElement.scrollWidth") == 360
    await asyncio.to_thread(chat.wait_for_log, r"The stream for Ada was closed after [1-9]\d* words")
    assert complaints == []


async def test_all_tabs_show_what_a_worker_writes_and_each_may_stop_it(chat: Server, enter: Enter) -> None:
    lines: list[WebSocketRoute] = []

    def connect(page: WebSocketRoute) -> None:
        page.connect_to_server()
        lines.append(page)

    title = "For all your tabs"
    first = await enter(chat, "Ada", prepare=lambda page: page.route_web_socket("**/ws/", connect))
    complaints = await open_assistant(first, chat)
    await panel(first, title).get_by_label("Question").fill("Why?")
    await first.keyboard.press("Enter")
    await expect(answer(first, title)).to_contain_text("You asked: “Why?” I am")
    second = await first.context.new_page()  # in the middle
    complaints += await open_assistant(second, chat)
    await expect(answer(second, title)).to_contain_text("You asked: “Why?” I am")
    await lines[-1].close(code=1012)
    await expect(first.locator("#connection")).to_contain_text("Reconnecting")
    await expect(first.locator("#connection")).to_be_empty()
    await panel(second, title).get_by_role("button", name="Stop").click()
    for page in (first, second):
        await expect(panel(page, title).get_by_role("status")).to_have_text("Stopped.")
    text = await answer(first, title).inner_text()
    assert await answer(second, title).inner_text() == text
    await asyncio.to_thread(chat.wait_for_log, r"The worker stopped writing answer \d+ after \d+ parts")
    await first.reload()
    await expect(answer(first, title)).to_have_text(text, use_inner_text=True)
    assert complaints == []


async def test_an_announcement_works_without_the_pages_script(chat: Server, enter: Enter, browser: Browser) -> None:
    ada = await enter(chat, "Ada")
    state = await ada.context.storage_state()
    context = await browser.new_context(java_script_enabled=False, storage_state=state)
    plain = await context.new_page()
    await plain.goto(f"http://{chat.host}/rooms/lobby/")
    response = await context.request.post(
        f"http://{chat.host}/rooms/lobby/announce/",
        form={
            "csrfmiddlewaretoken": await plain.locator("[name=csrfmiddlewaretoken]").first.get_attribute("value") or "",
            "text": "Without script",
        },
        headers={"Accept": "text/html", "Referer": f"http://{chat.host}/"},
    )
    assert response.url == f"http://{chat.host}/rooms/lobby/"
    await expect(ada.locator(".announcement").filter(has_text="Without script")).to_be_visible()
    await context.close()


async def test_an_empty_announcement_is_refused_in_words(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    await ada.get_by_role("button", name="Announce").click()
    await ada.get_by_role("dialog").get_by_role("button", name="Announce").click()
    await expect(ada.get_by_role("dialog").get_by_role("alert")).to_have_text("Write something first.")


async def test_rooms_keep_their_messages_to_themselves(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await ada.get_by_role("link", name="Kitchen").click()
    await expect(ada.get_by_role("heading", name="Kitchen")).to_be_visible()
    await expect(people(ada)).to_have_text(["Ada"])
    await expect(people(grace)).to_have_text(["Grace"])
    await say(ada, "for the kitchen")
    await expect(message(ada, "for the kitchen").locator(".tick")).to_have_text(RECEIVED)
    await say(grace, "for the lobby")
    await expect(message(grace, "for the lobby").locator(".tick")).to_have_text(RECEIVED)
    await expect(message(grace, "for the kitchen")).to_have_count(0)
    await expect(message(ada, "for the lobby")).to_have_count(0)


async def test_the_staff_uses_the_live_page_by_keyboard(chat: Server, enter: Enter) -> None:
    seen, complaints = await enter(chat, "Seen"), []

    async def add_policy(route: Route) -> None:
        response = await route.fetch(max_redirects=0)
        await route.fulfill(response=response, headers={**response.headers, "Content-Security-Policy": POLICY})

    async def prepare(page: Page) -> None:
        page.on("console", lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None)

    page = await enter(chat, "Host", password="parlour", prepare=prepare)
    complaints.clear()
    await page.context.route("**/admin/**", add_policy)
    await page.goto(f"http://{chat.host}/admin/")
    await page.get_by_role("link", name="Live page").first.press("Enter")
    await tab_to(page, "searchbox", "Search by user", within=40)
    await page.keyboard.type("seen")
    await page.keyboard.press("Enter")
    rows = page.locator("[data-rows] tr")
    await expect(rows).to_have_count(1)
    await expect(page.locator("[data-now=connections]")).to_have_text("1")
    await tab_to(page, "link", "Seen", within=40)
    await page.keyboard.press("Enter")
    await expect(page.locator("[data-fact=user]")).to_have_text("Seen")
    await say_at_once(seen, [f"message {number}" for number in range(20)])
    await expect(page.locator("[data-fact=events]")).to_have_text(re.compile(r"[1-9][\d.]*/s"))
    await expect(page.locator("[data-fact=frames]")).to_have_text(re.compile(r"[1-9][\d.]*/s"))

    await tab_to(page, "link", "rooms/lobby", within=40)
    await page.keyboard.press("Enter")
    await expect(rows).to_have_count(1)
    await expect(page.locator("[data-chart] polyline").first).to_have_attribute("points", re.compile(r"\d"))
    await watch_typing(seen)
    await tab_to(page, "textbox", "Event", within=40)
    await page.keyboard.type("typing")
    await page.keyboard.press("Tab")
    await page.keyboard.type('{"name": "The staff"}')
    await tab_to(page, "button", "Send")
    await page.keyboard.press("Enter")
    await expect(page.locator(".messagelist .success")).to_have_text("Room rooms/lobby: Sent the event typing.")
    await eventually(lambda: seen.evaluate("typists"), lambda typists: "The staff is typing" in typists, timeout=15)

    await page.set_viewport_size(PHONE["viewport"])
    await expect(rows).to_have_count(1)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await tab_to(page, "link", "Seen", within=40)
    await page.keyboard.press("Enter")
    await tab_to(page, "button", "Take out: rooms/lobby", within=40)
    await page.keyboard.press("Enter")
    await expect(page.locator(".messagelist .success")).to_contain_text("Taken out of the room rooms/lobby.")
    await expect(seen.get_by_text("The room did not open.")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await tab_to(page, "button", "Disconnect", within=40)
    await page.keyboard.press("Enter")
    await expect(page.locator(".messagelist .success")).to_contain_text("Seen: Closed with 1000.")
    await expect(page.locator("[data-none]")).to_be_visible()
    await expect(seen.get_by_text("The server closed the connection.")).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert complaints == []


async def test_the_office_opens_to_those_who_join_the_staff(chat: Server, enter: Enter) -> None:
    page, admin = await enter(chat, "Clerk"), await enter(chat, "Ada")
    host = await enter(chat, "Host", password="parlour")
    await host.get_by_role("link", name=re.compile("Office")).click()
    await expect(people(host)).to_have_text(["Host"])
    await say(host, "between us")
    await page.get_by_role("link", name=re.compile("Office")).click()
    closed = page.get_by_role("alert").filter(has_text="This room is for the staff")
    parts = page.locator("#log, #composer, #announce-open")
    for part in await parts.all():
        await expect(part).to_be_hidden()
    await expect(closed).to_be_visible()
    await expect(people(page)).to_have_count(0)
    assert "between us" not in await page.content()
    await open_admin(admin, chat)
    await set_staff(admin, chat, "Clerk", True)
    await expect(message(page, "between us")).to_be_visible()
    await expect(closed).to_be_hidden()
    await expect(people(page)).to_have_text(["Clerk", "Host"])
    await say(page, "at last")
    await expect(message(host, "at last")).to_be_visible()
    await set_staff(admin, chat, "Clerk", False)
    await expect(closed).to_be_visible()
    await expect(message(page, "between us")).to_have_count(0)
    await expect(people(host)).to_have_text(["Host"])
    await page.get_by_role("link", name=re.compile("Lobby")).click()
    await expect(closed).to_be_hidden()
    await expect_to_be_in(page, "Clerk")


async def test_what_was_written_in_a_room_is_sent_there_although_the_page_has_left_it(
    chat: Server, enter: Enter
) -> None:
    line = Line()
    ada, grace = await enter(chat, "Ada", prepare=line.lay), await enter(chat, "Grace")
    await line.cut(ada)
    await say(ada, "for those in the lobby")
    await ada.get_by_role("link", name=re.compile("Kitchen")).click()
    line.mend()
    await expect(message(grace, "for those in the lobby")).to_be_visible()
    await expect(people(ada)).to_have_text(["Ada"])
    await expect(people(grace)).to_have_text(["Grace"])  # the page has left the lobby then


async def test_each_room_has_an_address(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    await ada.get_by_role("link", name="Workshop").click()
    await expect(ada).to_have_url(f"http://{chat.host}/rooms/workshop/")
    await expect(ada).to_have_title("Workshop · Parlour")
    await ada.go_back()
    await expect(ada.get_by_role("heading", name="Lobby")).to_be_visible()
    await ada.go_forward()
    await ada.reload()
    await expect(ada.get_by_role("heading", name="Workshop")).to_be_visible()


async def test_a_reload_keeps_name_and_room(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    await ada.get_by_role("link", name="Workshop").click()
    await expect_to_be_in(ada, "Ada")
    await ada.reload()
    await expect(ada.get_by_role("heading", name="Workshop")).to_be_visible()
    await expect_to_be_in(ada, "Ada")


async def test_the_next_page_opens_the_last_room(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    for name in ("Workshop", "Observatory"):
        await ada.get_by_role("link", name=name).click()
        await expect(ada).to_have_url(f"http://{chat.host}/rooms/{name.lower()}/")  # not the page before
        await expect_to_be_in(ada, "Ada")

    async def ask_home() -> str:
        # Without the page behind it: that would go into the room, which then were the last one.
        home = await ada.request.get(f"http://{chat.host}/", max_redirects=0)
        return home.headers["location"]

    # The others are told who came before the session is written.
    await eventually(ask_home, lambda location: location == "/rooms/observatory/")
    tab = await ada.context.new_page()
    await tab.goto(f"http://{chat.host}/")
    await expect(tab).to_have_url(f"http://{chat.host}/rooms/observatory/")
    await expect_to_be_in(tab, "Ada")


async def test_logging_out_in_one_tab_ends_the_others(chat: Server, enter: Enter) -> None:
    ada, grace = await enter(chat, "Ada"), await enter(chat, "Grace")
    tab = await ada.context.new_page()
    await tab.clock.install()
    sockets: list[Any] = []
    tab.on("websocket", lambda socket: sockets.append(socket))
    await tab.goto(f"http://{chat.host}/rooms/kitchen/")
    await expect_to_be_in(tab, "Ada")
    await log_out(ada)
    await expect(tab.get_by_role("status")).to_contain_text("You are not logged in any more.")
    await expect(people(tab)).to_have_count(0)
    await expect(people(grace)).to_have_text(["Grace"])
    await tab.clock.run_for(60_000)  # it does not come back by itself
    assert [socket.is_closed() for socket in sockets] == [True]
    await tab_to(tab, "button", "Log in")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_label("Your name")).to_be_focused()
    await tab.keyboard.type("Ada")
    await tab.keyboard.press("Enter")
    await expect(tab.get_by_role("heading", name="Kitchen")).to_be_visible()
    await expect_to_be_in(tab, "Ada")


async def test_what_is_written_after_a_logout_is_kept_and_not_sent(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    tab = await ada.context.new_page()
    await tab.goto(f"http://{chat.host}/")
    await expect_to_be_in(tab, "Ada")
    await tab.get_by_role("button", name="Announce").click()
    await log_out(ada)
    await expect(tab.get_by_role("status")).to_contain_text("You are not logged in any more.")
    await tab.get_by_role("textbox", name="Announcement").fill("Tea at five")
    await tab.get_by_role("dialog").get_by_role("button", name="Announce").click()
    complaint = "You are not logged in any more. Log in, then announce it."
    await expect(tab.get_by_role("dialog").get_by_role("alert")).to_have_text(complaint)
    await expect(tab.get_by_role("textbox", name="Announcement")).to_have_value("Tea at five")
    await tab.keyboard.press("Escape")
    await say(tab, "too late")
    complaint = "You are not logged in any more. Log in, then send it."
    await expect(tab.locator("#composer").get_by_role("alert")).to_have_text(complaint)
    await expect(tab.get_by_role("textbox", name="Message")).to_have_value("too late")
    await expect(message(tab, "too late")).to_have_count(0)


async def test_a_newcomer_sees_what_was_said_before(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    for text in ("first of old", "second of old"):
        await say(ada, text)
        await expect(message(ada, text).locator(".tick")).to_have_text(RECEIVED)
    grace = await enter(chat, "Grace")
    old = grace.locator("#log .message").filter(has_text=re.compile("of old"))
    await expect(old.locator(".text")).to_have_text(["first of old", "second of old"])


ANCHORING = {"anchors": ("auto", "page"), "anchors-nothing": ("none", "sheet")}


@pytest.mark.parametrize(("anchoring", "word"), ANCHORING.values(), ids=ANCHORING)
async def test_who_reads_back_is_not_carried_off(chat: Server, enter: Enter, anchoring: str, word: str) -> None:
    """Some browsers keep what is read in place themselves, others do not."""
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace", viewport={"width": 800, "height": 400})
    log = await grace.get_by_role("log").element_handle()
    await log.evaluate("(log, anchoring) => { log.style.overflowAnchor = anchoring; }", anchoring)
    for number in range(8):
        await say(ada, f"a {word} full {number}")
    await expect(message(grace, f"a {word} full 7")).to_be_in_viewport()
    await log.hover()
    await grace.mouse.wheel(0, -100_000)
    await grace.wait_for_function("(log) => log.scrollTop <= log.clientHeight - log.scrollHeight + 1", arg=log)
    await expect(message(grace, f"a {word} full 7")).not_to_be_in_viewport()
    read = message(grace, f"a {word} full 0")
    before = await read.bounding_box()
    await say(ada, f"and one more {word}")
    await expect(message(grace, f"and one more {word}")).to_have_attribute("data-state", "sent")
    assert await read.bounding_box() == pytest.approx(before, abs=1)  # pixels
    await grace.get_by_role("button", name="Latest messages").click()
    await expect(message(grace, f"and one more {word}")).to_be_in_viewport()
    await expect(grace.get_by_role("button", name="Latest messages")).to_be_hidden()


async def test_who_reads_the_end_stays_there_when_the_page_shrinks(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada", viewport={"width": 800, "height": 700})
    for number in range(8):
        await say(ada, f"tall page {number}")
    await expect(message(ada, "tall page 7")).to_be_in_viewport()
    await ada.set_viewport_size({"width": 800, "height": 350})
    await expect(end(ada)).to_be_in_viewport(ratio=1)


@pytest.mark.parametrize(
    ("word", "changes"),
    [
        (
            "settling",
            """
            last.style.marginBottom = "50px";
            log.scrollTop = log.scrollHeight;
            await frame();
            last.style.marginBottom = ""; // its loss of height scrolls the list back
            await frame();
            log.style.height = "120px";
            """,
        ),
        (
            "bouncing",
            """
            log.style.height = "120px";
            await frame();
            log.style.height = "420px";
            log.getBoundingClientRect();
            log.style.height = "120px";
            await frame();
            """,
        ),
    ],
    ids=["a-message-and-the-list-shrink", "the-list-grows-and-shrinks-at-once"],
)
async def test_who_reads_the_end_stays_there_whatever_changes_size(
    chat: Server, enter: Enter, word: str, changes: str
) -> None:
    ada = await enter(chat, "Ada", viewport={"width": 800, "height": 400})
    for number in range(8):
        await say(ada, f"{word} {number}")
    await expect(message(ada, f"{word} 7")).to_have_attribute("data-state", "sent")
    await ada.get_by_role("log").evaluate(
        f"""async (log) => {{
            const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
            const last = log.querySelector("li:last-child");
            {changes}
        }}"""
    )
    await expect(end(ada)).to_be_in_viewport(ratio=1)


async def test_who_reads_back_is_not_carried_off_by_their_own_words(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada", viewport={"width": 800, "height": 400})
    window = await ada.context.new_page()
    await window.goto(f"http://{chat.host}/")
    await expect_to_be_in(window, "Ada")
    for number in range(8):
        await say(ada, f"a leaf full {number}")
    await expect(message(window, "a leaf full 7")).to_have_count(1)
    await ada.get_by_role("log").hover()
    await ada.mouse.wheel(0, -100_000)
    await expect(message(ada, "a leaf full 7")).not_to_be_in_viewport()
    await say(window, "said in another window")
    await expect(message(ada, "said in another window")).to_have_count(1)
    await expect(message(ada, "said in another window")).not_to_be_in_viewport()
    await ada.get_by_role("button", name="Latest messages").press("Enter")
    await expect(end(ada)).to_be_in_viewport()
    await expect(ada.get_by_role("log")).to_be_focused()


async def test_an_answer_that_comes_after_a_change_of_room_is_not_shown_there(chat: Server, enter: Enter) -> None:
    held: list[tuple[WebSocketRoute, str | bytes]] = []

    def hold_answers(page: WebSocketRoute) -> None:
        def pass_on(frame: str | bytes) -> None:
            if re.match(r"__ack___in \S+ say", str(frame)):
                held.append((page, frame))
            else:
                page.send(frame)

        page.connect_to_server().on_message(pass_on)

    ada = await enter(chat, "Ada", prepare=lambda page: page.route_web_socket("**/ws/", hold_answers))
    await say(ada, "for the lobby alone")
    await eventually(lambda: asyncio.sleep(0, len(held)), lambda count: count == 1)
    await ada.get_by_role("link", name=re.compile("Kitchen")).click()
    await expect(ada.get_by_role("heading", name="Kitchen")).to_be_visible()
    await expect_to_be_in(ada, "Ada")
    for page, frame in held:
        page.send(frame)
    await say(ada, "for the cooks")
    await expect(message(ada, "for the cooks")).to_have_count(1)
    await expect(message(ada, "for the lobby alone")).to_have_count(0)


async def test_what_is_said_while_the_room_opens_is_sent_once(chat: Server, enter: Enter) -> None:
    """It waits until the page is in the room, since only members may speak there."""
    opened, joins, said = asyncio.Event(), list[str](), list[str]()
    opening: list[asyncio.Task[None]] = []

    def hold_the_kitchen(page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        async def open_late(frame: str | bytes) -> None:
            await opened.wait()
            page.send(frame)

        def from_server(frame: str | bytes) -> None:
            if any(str(frame).startswith(f"__ack___join||{ack_id}||") for ack_id in joins):
                opening.append(asyncio.create_task(open_late(frame)))
            else:
                page.send(frame)

        def from_page(frame: str | bytes) -> None:
            if str(frame).startswith("__join||") and "rooms/kitchen" in str(frame):
                joins.append(str(frame).split("||")[1])
            if str(frame).startswith("__in rooms/kitchen say||"):
                said.append(str(frame))
            server.send(frame)

        server.on_message(from_server)
        page.on_message(from_page)

    ada = await enter(chat, "Ada", prepare=lambda page: page.route_web_socket("**/ws/", hold_the_kitchen))
    await ada.get_by_role("link", name=re.compile("Kitchen")).click()
    await say(ada, "said too early")
    await eventually(lambda: asyncio.sleep(0, len(opening)), lambda count: count == 1)
    assert said == []
    opened.set()
    await say(ada, "said later")
    for text in ("said too early", "said later"):
        await expect(message(ada, text).locator(".tick")).to_have_text(RECEIVED)
    assert len(said) == 2


async def test_a_room_that_did_not_open_is_forgotten_once_another_does(chat: Server, enter: Enter) -> None:
    refused: list[str] = []

    def refuse_the_kitchen(page: WebSocketRoute) -> None:
        server = page.connect_to_server()

        def pass_on(frame: str | bytes) -> None:
            if "rooms/kitchen" in str(frame):
                refused.append(str(frame))
                failure = '{"code": "handler_error", "message": "The handler failed."}'
                page.send(f"__err___join||{str(frame).split('||')[1]}||{failure}")
            else:
                server.send(frame)

        page.on_message(pass_on)

    ada = await enter(chat, "Ada", prepare=lambda page: page.route_web_socket("**/ws/", refuse_the_kitchen))
    await ada.get_by_role("link", name=re.compile("Kitchen")).click()
    await expect(ada.get_by_role("status")).to_contain_text("The room did not open.")
    await ada.get_by_role("link", name=re.compile("Workshop")).click()
    await expect_to_be_in(ada, "Ada")
    await expect(ada.get_by_role("status")).to_be_empty()
    assert len(refused) == 1


async def test_coming_back_leaves_everything_in_its_place(chat: Server, enter: Enter) -> None:
    lines: list[WebSocketRoute] = []

    def connect(page: WebSocketRoute) -> None:
        page.connect_to_server()
        lines.append(page)

    ada = await enter(chat, "Ada", prepare=lambda page: page.route_web_socket("**/ws/", connect))
    grace = await enter(chat, "Grace")
    await expect(ada.get_by_role("log")).to_contain_text("Grace came in")
    await say(grace, "said before she left")
    await expect(message(ada, "said before she left")).to_have_count(1)
    await grace.close()
    await expect(ada.get_by_role("log")).to_contain_text("Grace left")
    items = ada.locator("#log li:not(.day)")
    before = await items.all_inner_texts()
    await ada.evaluate(
        """() => {
            window.moved = [];
            const observer = new MutationObserver((changes) => {
                for (const { removedNodes } of changes) moved.push(...[...removedNodes].map((node) => node.className));
            });
            observer.observe(document.querySelector("#log ol"), { childList: true });
        }"""
    )
    await lines[0].close(code=1012)
    await expect(ada.get_by_role("status")).to_have_text("You are up to date.")
    await expect_to_be_in(ada, "Ada")
    await say(ada, "said back again")
    await expect(message(ada, "said back again")).to_have_attribute("data-state", "sent")
    assert (await items.all_inner_texts())[: len(before)] == before
    assert [name for name in await ada.evaluate("moved") if "day" not in name] == []


class Line:
    """A page's way to the server, which is cut and mended."""

    def __init__(self) -> None:
        self._is_cut = False
        self._socket: WebSocketRoute | None = None

    async def lay(self, page: Page) -> None:
        await page.route_web_socket("**/ws/", self._connect)

    async def _connect(self, socket: WebSocketRoute) -> None:
        if self._is_cut:
            await socket.close(code=1012)
        else:
            socket.connect_to_server()
            self._socket = socket

    async def cut(self, page: Page) -> None:
        self._is_cut = True
        assert self._socket is not None
        await self._socket.close(code=1012)
        await expect(page.get_by_role("status")).to_contain_text("Reconnecting")

    def mend(self) -> None:
        """Let the page come back, which it tries every 5 s at the latest."""
        self._is_cut = False


async def test_what_was_written_while_the_server_was_away_is_sent_in_order(chat: Server, enter: Enter) -> None:
    line = Line()
    ada, grace = await enter(chat, "Ada", prepare=line.lay), await enter(chat, "Grace")
    await line.cut(ada)
    texts = [f"written alone {number}" for number in range(20)]
    await say_at_once(ada, texts)
    line.mend()
    for page in (ada, grace):
        written = message(page, "written alone")
        # They go one after the other, once the page is back.
        await expect(written.and_(page.locator("[data-state=sent]"))).to_have_count(len(texts), timeout=60_000)
        await expect(written.locator(".text")).to_have_text(texts)


async def test_who_scrolls_up_sees_all_that_was_said(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada", viewport={"width": 800, "height": 400})
    await ada.get_by_role("link", name="Observatory").click()
    shown = message(ada, "of old")
    await expect(message(ada, f"of old, {2 * AT_ONCE + 19}")).to_be_in_viewport()
    assert await shown.count() == AT_ONCE
    log = await ada.get_by_role("log").element_handle()
    await log.hover()
    beginning = ada.get_by_role("log").get_by_text("There is nothing before this")
    for count in (2 * AT_ONCE, 2 * AT_ONCE + 20):
        await expect(beginning).to_have_count(0)
        read = await shown.first.element_handle()
        await ada.mouse.wheel(0, -100_000)
        await expect(shown).to_have_count(count)
        assert await log.evaluate("(log) => log.scrollTop - 1 <= log.clientHeight - log.scrollHeight") is False
        assert await read.evaluate("(read) => read.getBoundingClientRect().top > 0")  # it stays in place
    await ada.mouse.wheel(0, -100_000)
    await expect(beginning).to_be_in_viewport()
    texts = [f"of old, {number}" for number in range(2 * AT_ONCE + 20)]
    await expect(shown.locator(".text")).to_have_text(texts)
    await expect(ada.get_by_role("button", name="Latest messages")).to_be_hidden()


async def test_who_returns_gets_all_that_was_said_meanwhile(chat: Server, enter: Enter) -> None:
    line = Line()
    ada, grace = await enter(chat, "Ada", prepare=line.lay), await enter(chat, "Grace")
    await say(grace, "before the gap")
    await expect(message(ada, "before the gap")).to_have_count(1)
    await line.cut(ada)
    missed = [f"in the gap {number}" for number in range(AT_ONCE + 1)]
    await say_at_once(grace, missed)
    await expect(message(grace, "in the gap").and_(grace.locator("[data-state=sent]"))).to_have_count(len(missed))
    line.mend()
    await expect(ada.get_by_role("status")).to_have_text("You are up to date.")
    await expect(message(ada, "the gap").locator(".text")).to_have_text(["before the gap", *missed])


async def test_who_returns_to_an_emptied_history_sees_what_there_is(chat: Server, enter: Enter, database: Path) -> None:
    line = Line()
    ada, grace = await enter(chat, "Ada", prepare=line.lay), await enter(chat, "Grace")
    await ada.get_by_role("link", name="Workshop").click()
    await say(ada, "soon forgotten")
    await expect(message(ada, "soon forgotten").locator(".tick")).to_have_text(RECEIVED)
    await line.cut(ada)
    empty(database)
    await grace.get_by_role("link", name="Workshop").click()
    await say(grace, "a new start")
    await expect(message(grace, "a new start").locator(".tick")).to_have_text(RECEIVED)
    await say(ada, "said meanwhile")
    line.mend()
    await expect(ada.get_by_role("status")).to_have_text("You were away for long. These are the latest messages.")
    for page in (ada, grace):
        await expect(page.locator("#log .text")).to_have_text(["a new start", "said meanwhile"])


def empty(database: Path) -> None:
    """Remove all histories."""
    with closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        for table in ("historyevent", "historydurableevent", "historyroom"):
            connection.execute(f"DELETE FROM django_etp_history_{table}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("   ", "Write something first."), ("x" * 501, "That is too long: up to 500 characters, please; these are 501.")],
    ids=["empty", "too-long"],
)
async def test_what_cannot_be_sent_is_refused_in_words(chat: Server, enter: Enter, text: str, complaint: str) -> None:
    ada = await enter(chat, "Ada")
    await say(ada, text)
    await expect(ada.locator("#composer").get_by_role("alert")).to_have_text(complaint)
    await expect(ada.get_by_role("textbox", name="Message")).to_have_value(text)


async def test_markup_is_shown_as_the_text_it_is(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    markup = "<img src=x onerror=\"document.title='owned'\"><b>bold</b>"
    await say(ada, markup)
    await expect(message(grace, "bold").locator(".text")).to_have_text(markup)
    await expect(grace).to_have_title("Lobby · Parlour")


async def test_a_text_runs_in_the_direction_of_its_letters(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    await say(ada, "שלום!")
    shown = message(ada, "שלום!").locator(".text")
    await expect(shown).to_be_visible()
    letter, mark = await shown.evaluate(
        """({ firstChild: text }) => [0, 4].map((index) => {
            const range = new Range();
            range.setStart(text, index);
            range.setEnd(text, index + 1);
            return range.getBoundingClientRect().left;
        })"""
    )
    assert mark < letter  # it ends on the left


async def test_the_page_fits_a_phone(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Augusta Ada King-Noel L.", **PHONE)
    await say(ada, "w" * 200)
    await expect(message(ada, "w" * 200).locator(".tick")).to_have_text(RECEIVED)
    await ada.get_by_role("textbox", name="Message").fill("m" * 200)
    await ada.get_by_role("button", name="People here").click()
    await expect(ada.get_by_role("heading", name="Here now")).to_be_visible()
    assert await ada.evaluate("document.documentElement.scrollWidth") == 360
    for control in await ada.locator("button:visible, a:visible, textarea:visible").all():
        box = await control.bounding_box()
        assert box is not None
        if await control.evaluate("(element) => !element.closest('nav, .skip') && !element.matches('.skip')"):
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 360


async def test_it_all_works_by_keyboard(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    await ada.goto(f"http://{chat.host}/")
    await expect_to_be_in(ada, "Ada")
    await expect(ada.get_by_role("textbox", name="Message")).to_be_focused()
    await tab_to(ada, "link", "Observatory")
    await ada.keyboard.press("Enter")
    await expect(ada.get_by_role("heading", name="Observatory")).to_be_visible()
    await tab_to(ada, "button", "Announce")
    await ada.keyboard.press("Enter")
    await expect(ada.get_by_role("textbox", name="Announcement")).to_be_focused()
    await ada.keyboard.type("by keyboard")
    await ada.keyboard.press("Escape")
    await expect(ada.get_by_role("dialog")).to_be_hidden()
    await tab_to(ada, "log", "Messages")
    await tab_to(ada, "link", "Skip to the message box")
    await ada.keyboard.press("Enter")
    await expect(ada.get_by_role("textbox", name="Message")).to_be_focused()
    await ada.keyboard.type("line one")
    await ada.keyboard.press("Shift+Enter")
    await ada.keyboard.type("line two")
    await ada.keyboard.press("Enter")
    await expect(message(ada, "line one").locator(".text")).to_have_text("line one\nline two", use_inner_text=True)
    await tab_to(ada, "button", "Log out")
    await ada.keyboard.press("Enter")
    await expect(ada.get_by_label("Your name")).to_be_focused()


async def test_nothing_moves_for_those_who_want_it_so(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada", reduced_motion="reduce")
    await say(ada, "still")
    await expect(message(ada, "still").locator(".tick")).to_have_text(RECEIVED)
    assert await ada.evaluate("document.getAnimations().length") == 0


async def test_the_dark_page_is_dark(chat: Server, enter: Enter) -> None:
    lightness = "Number(getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/)[0])"
    light, dark = await enter(chat, "Ada"), await enter(chat, "Grace", color_scheme="dark")
    assert await light.evaluate(lightness) > 0.9
    assert await dark.evaluate(lightness) < 0.2


async def test_a_page_comes_back_by_itself_after_the_server_did(enter: Enter, tmp_path: Path) -> None:
    with held_port() as port:
        with start_chat(tmp_path / "chat.sqlite3", port) as server:
            ada = await enter(server, "Ada")
            grace = await enter(server, "Grace")
            await say(grace, "said before")
            await expect(message(ada, "said before")).to_be_visible()
            server.kill()
            await expect(ada.get_by_role("status")).to_contain_text("Reconnecting")
            await say(ada, "said meanwhile")
            await expect(message(ada, "said meanwhile").locator(".tick")).to_have_text("On its way")
        with start_chat(tmp_path / "chat.sqlite3", port):
            for page in (ada, grace):
                await expect(page.get_by_role("status")).to_be_empty(timeout=60_000)
                await expect(people(page)).to_have_text(["Ada", "Grace"], timeout=60_000)
            await expect(message(ada, "said meanwhile").locator(".tick")).to_have_text(RECEIVED)
            await expect(message(grace, "said meanwhile")).to_have_count(1)
            await expect(message(grace, "said before")).to_have_count(1)
            cleo = await enter(server, "Cleo")
            await expect(cleo.locator("#log .message .text")).to_have_text(["said before", "said meanwhile"])


async def test_a_page_whose_user_logged_out_does_not_come_back(enter: Enter, tmp_path: Path) -> None:
    with held_port() as port:
        with start_chat(tmp_path / "chat.sqlite3", port) as server:
            ada = await enter(server, "Ada")
            await ada.context.clear_cookies()
            server.kill()
        with start_chat(tmp_path / "chat.sqlite3", port):
            await expect(ada.get_by_role("status")).to_contain_text("You are not logged in any more", timeout=60_000)
            await ada.get_by_role("button", name="Log in").click()
            await expect(ada.get_by_label("Your name")).to_be_visible()
