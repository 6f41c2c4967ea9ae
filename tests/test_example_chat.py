"""The example's chat as its users meet it: several people in real browsers, on a real daphne."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, expect

from tests.browser import CHROMIUM, start_browser
from tests.peers import eventually
from tests.servers import ROOT, Server, held_port, start_server

if CHROMIUM is None:
    pytest.skip(f"{Path(__file__).name}: chromium is not installed", allow_module_level=True)

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

PHONE = {"viewport": {"width": 360, "height": 720}, "has_touch": True, "is_mobile": True}
RECEIVED = "Received by the server"

expect.set_options(timeout=15_000)  # milliseconds; what is expected comes at once, but the machine may be busy

Enter = Callable[..., Awaitable[Page]]


@contextmanager
def start_chat(database: Path, port: int = 0) -> Iterator[Server]:
    env = {"DATABASE_FILE": str(database)}
    migrate = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | env
    subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
    with start_server("daphne", "example_project.asgi:application", env=env, port=port) as server:
        yield server


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with start_chat(tmp_path_factory.mktemp("chat") / "chat.sqlite3") as server:
        yield server
        assert server.complaints == []
        assert "Traceback" not in server.log


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with start_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def enter(browser: Browser) -> AsyncIterator[Enter]:
    """`await enter(server, name)` lets somebody with a browser profile of their own into the lobby.

    At the end no page may have met an error.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    async def enter(server: Server, name: str, **options: Any) -> Page:
        context = await browser.new_context(**options)
        contexts.append(context)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        page = await context.new_page()
        await page.goto(f"http://{server.host}/")
        await page.get_by_label("Your name").fill(name)
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


async def log_out(page: Page) -> None:
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Your name")).to_be_visible()


async def tab_to(page: Page, role: Any, name: str) -> None:
    """Press Tab until it reaches something, which then shows that it has the focus."""
    for _ in range(20):
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


async def test_people_see_who_is_there(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace")
    await expect(people(ada)).to_have_text(["Ada", "Grace"])
    await expect(people(grace)).to_have_text(["Ada", "Grace"])
    await expect(ada.get_by_role("link", name=re.compile("Lobby"))).to_contain_text("2")
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


async def test_who_reads_back_is_not_carried_off(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada")
    grace = await enter(chat, "Grace", viewport={"width": 800, "height": 400})
    for number in range(8):
        await say(ada, f"a page full {number}")
    await expect(message(grace, "a page full 7")).to_be_in_viewport()
    await grace.get_by_role("log").evaluate("(log) => { log.scrollTop = 0; }")
    await expect(message(grace, "a page full 7")).not_to_be_in_viewport()
    await say(ada, "and one more")
    await grace.get_by_role("button", name="Latest messages").click()
    await expect(message(grace, "and one more")).to_be_in_viewport()
    await expect(grace.get_by_role("button", name="Latest messages")).to_be_hidden()


async def test_who_reads_the_end_stays_there_when_the_page_shrinks(chat: Server, enter: Enter) -> None:
    ada = await enter(chat, "Ada", viewport={"width": 800, "height": 700})
    for number in range(8):
        await say(ada, f"tall page {number}")
    await expect(message(ada, "tall page 7")).to_be_in_viewport()
    await ada.set_viewport_size({"width": 800, "height": 350})
    await expect(message(ada, "tall page 7")).to_be_in_viewport(ratio=1)


async def test_who_reads_the_end_stays_there_when_the_page_shrinks_as_a_message_settles(
    chat: Server, enter: Enter
) -> None:
    ada = await enter(chat, "Ada", viewport={"width": 800, "height": 400})
    for number in range(8):
        await say(ada, f"settling {number}")
    last = message(ada, "settling 7")
    await expect(last).to_have_attribute("data-state", "sent")
    await ada.get_by_role("log").evaluate(
        """async (log) => {
            const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
            const last = log.lastElementChild.style;
            last.marginBottom = "50px";
            log.scrollTop = log.scrollHeight;
            await frame();
            await frame();
            // The message's loss of height scrolls the list back; before the page hears of it, the list shrinks.
            last.marginBottom = "";
            await frame();
            log.style.height = "120px";
        }"""
    )
    await expect(last).to_be_in_viewport(ratio=1)


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
