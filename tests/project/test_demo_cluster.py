"""`make demo-cluster` for real: one chat over two servers, announcements from elsewhere, and a clean end."""

import asyncio
import http.cookiejar
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from django_etp.protocol import Event, decode, encode
from tests.support.peers import eventually

ROOT = Path(__file__).resolve().parents[2]
WAIT = 30.0  # seconds for what must come
START = 90.0
IN_LOBBY = "__in rooms/lobby"  # how the wire names an event inside the room
END = 40.0


class Demo:
    """A running launcher, and what it printed."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, database: Path) -> None:
        self.process = process
        self._output = output
        self.database = database

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def urls(self) -> list[str]:
        return re.findall(r"^ +(http://\S+/)$", self.output, re.MULTILINE)

    @property
    def announce_command(self) -> str:
        return re.findall(r"^ +(ETP_DEMO_BROKER=.*)$", self.output, re.MULTILINE)[0]

    def log(self, name: str) -> str:
        folder = re.findall(r"^Logs: (.*)$", self.output, re.MULTILINE)[0]
        return (Path(folder) / f"{name}.log").read_text()

    def processes(self) -> dict[int, str]:
        """The command lines, by id, of all processes that write to this demo's logs: the launcher and all of its."""
        found = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(folder / "fd" / "1").startswith(f"{self._output.parent}/"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue  # it ended, or is another user's
        return found

    async def count_listening(self) -> int:
        """Return how often a server has begun to listen."""
        return self.log("daphne").count("Listening on TCP address") + self.log("uvicorn").count("Uvicorn running on")

    def ended(self) -> int:
        """Return what it ended with."""
        return self.process.wait(timeout=END)


@contextmanager
def start_demo(directory: Path) -> Iterator[Demo]:
    output, database = directory / "output", directory / "chat.sqlite3"
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "example_project.cluster"],
            cwd=ROOT,
            env=environment | {"DATABASE_FILE": str(database), "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    demo = Demo(process, output, database)
    try:
        deadline = time.monotonic() + START
        while "Press Ctrl-C to stop all of it" not in demo.output:
            assert process.poll() is None, demo.output
            assert time.monotonic() < deadline, demo.output
            time.sleep(0.05)
        yield demo
    finally:
        process.terminate()
        try:
            process.wait(timeout=END)
        finally:
            for pid in demo.processes():
                os.kill(pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with start_demo(tmp_path_factory.mktemp("demo")) as demo:
        yield demo
        demo.process.send_signal(signal.SIGTERM)
        assert demo.ended() == 0
        assert demo.processes() == {}


class Person:
    """Somebody in the lobby, with a browser's cookies and a WebSocket."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._cookies = http.cookiejar.CookieJar()
        self._browser = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self._cookies)
        )
        self._peer: ClientConnection

    def read(self, path: str) -> str:
        with self._browser.open(self.url + path, timeout=WAIT) as response:
            body: str = response.read().decode()
        return body

    def post(self, page: str, path: str, **fields: str) -> str:
        """Send the form of a page, and return what came back."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.read(page))
        assert token
        form = urllib.parse.urlencode({"csrfmiddlewaretoken": token[1], **fields}).encode()
        with self._browser.open(self.url + path, form, timeout=WAIT) as response:
            body: str = response.read().decode()
        return body

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[None]:
        cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._cookies)
        url = self.url.replace("http", "ws") + "ws/"
        options: dict[str, Any] = {"proxy": None, "ping_interval": None, "subprotocols": ["etp.ext.v2"]}
        async with connect(url, additional_headers={"Cookie": cookie}, **options) as self._peer:
            yield

    async def send(self, name: str, data: object, ack_id: int = 0) -> None:
        await self._peer.send(encode(Event(name, ack_id, json.dumps(data))))

    async def ask(self, name: str, data: object) -> Any:
        await self._peer.send(encode(Event(name, 1, json.dumps(data))))
        return (await self.expect(f"__ack_{name}")).json()

    async def say(self, text: str, key: str) -> None:
        await self.ask(f"{IN_LOBBY} say", {"text": text, "key": key})

    async def hear(self) -> Any:
        """Return the next message in the lobby."""
        return (await self.expect(f"{IN_LOBBY} message")).json()

    async def expect(self, name: str) -> Event:
        """Return the next event of this name; others that come before are passed over, and positions in history."""
        async with asyncio.timeout(WAIT):
            while re.sub(r"@\S+", "", (event := decode(await self._peer.recv())).name) != name:
                pass
        return event

    async def expect_in(self, room: str, name: str) -> Any:
        """Return the data of the next event of this name inside a room with history."""
        async with asyncio.timeout(WAIT):
            while True:
                event = decode(await self._peer.recv())
                if event.name.startswith(f"__in {room}@") and event.name.endswith(f" {name}"):
                    return event.json()


@asynccontextmanager
async def enter(url: str, name: str) -> AsyncIterator[Person]:
    """Log in, connect and go into the lobby."""
    person = Person(url)
    await asyncio.to_thread(person.post, "login/", "login/", name=name)
    async with person.connect():
        assert (await person.ask("__join", {"room": "rooms/lobby"}))["state"]["name"] == name
        yield person


async def test_chat_spans_both_servers(demo: Demo):
    first, second = demo.urls
    async with enter(first, "Ana") as ana, enter(second, "Ben") as ben:
        await ana.say("hello over there", key="a1")
        assert (await ben.hear())["text"] == "hello over there"
        await ben.say("hello back", key="b1")
        assert (await ana.hear())["text"] == "hello back"


async def test_each_server_tells_who_is_on_the_other(demo: Demo):
    first, second = demo.urls
    async with enter(first, "Cleo") as cleo, enter(second, "Dan"):
        joined = list[str]()
        while "Dan" not in joined:
            change = (await cleo.expect(f"{IN_LOBBY} __presence")).json()
            joined = [entry["info"]["name"] for entry in change["joined"]]


def test_it_says_how_to_be_on_the_staff(demo: Demo):
    assert "come in as Host with the password 'parlour'" in demo.output


async def test_form_is_sent_by_the_celery_worker(demo: Demo):
    first, second = demo.urls
    async with enter(first, "Eve") as eve, enter(second, "Finn") as finn:
        await asyncio.to_thread(eve.post, "rooms/lobby/", "rooms/lobby/announce/", text="tea is ready")
        for person in (eve, finn):
            message = await person.hear()
            assert (message["name"], message["text"], message["is_announcement"]) == ("Eve", "tea is ready", True)
    assert re.search(r"announce_later\[[\w-]+\] received", demo.log("celery"))


async def test_worker_writes_for_both_servers_until_one_stops_it(demo: Demo):
    first, second = demo.urls
    async with enter(first, "Kim") as kim, enter(second, "Kim") as elsewhere:
        page = await asyncio.to_thread(kim.read, "assistant/")
        room = re.findall(r'data-room="(assistant/\d+)"', page)[0]
        for tab in (kim, elsewhere):
            assert "state" in await tab.ask("__join", {"room": room})
        await kim.send(f"__in {room} ask", "Why?")
        assert [(await tab.expect_in(room, "part"))["number"] for tab in (kim, elsewhere)] == [0, 0]
        await elsewhere.send(f"__in {room} stop", "")
        for tab in (kim, elsewhere):
            while (answer := await tab.expect_in(room, "answer"))["status"] == "writing":
                pass
            assert answer["status"] == "stopped"


async def test_all_that_a_deployment_has_is_switched_on(demo: Demo):
    for url, name in zip(demo.urls, ("daphne", "uvicorn"), strict=True):
        async with enter(url, "Mia") as mia:
            await mia.say("hello", key=name)
            page = await asyncio.to_thread(mia.read, "metrics/")
            said = r'^etp_events_total\{event="rooms/<room:room> say",namespace="default",outcome="ok"\} [1-9]'
            assert re.search(said, page, re.MULTILINE)
            ready = json.loads(await asyncio.to_thread(mia.read, "health/ready/"))
            assert ready["checks"] == {"broker": "ok", "database": "ok"}
            for _ in range(31):
                await mia.send("no such event", "")
            await mia.send(f"{IN_LOBBY} typing", None, 7)
            assert (await mia.expect(f"__err_{IN_LOBBY} typing")).json()["code"] == "rate_limited"
        assert re.search(r"Mia: rooms/<room:room> say, [\d.]+ ms", demo.log(name))


async def test_command_that_is_printed_announces(demo: Demo):
    first, second = demo.urls
    async with enter(first, "Gil") as gil, enter(second, "Hana") as hana:
        environment = os.environ | {"DATABASE_FILE": str(demo.database)}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        announcing = await asyncio.create_subprocess_shell(
            demo.announce_command,
            cwd=ROOT,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(WAIT):
            output, _ = await announcing.communicate()
        assert (announcing.returncode, output) == (0, b"")
        for person in (gil, hana):
            message = await person.hear()
            assert (message["text"], message["is_announcement"]) == ("Lunch is ready", True)


async def test_ctrl_c_ends_all_processes(tmp_path: Path):
    with start_demo(tmp_path) as demo:
        commands = " ".join(demo.processes().values())
        names = ("valkey-server", "-m daphne", "-m uvicorn --ws django_etp.uvicorn:Protocol", "example_project.cluster")
        assert [commands.count(name) for name in names] == [1, 1, 1, 1]
        assert commands.count("-m celery") == 3
        async with enter(demo.urls[0], "Ida"), enter(demo.urls[1], "Jon"):
            demo.process.send_signal(signal.SIGINT)
            assert await asyncio.to_thread(demo.ended) == 0
        assert demo.processes() == {}


async def test_a_server_that_dies_is_started_again_and_at_once_again_is_the_end(tmp_path: Path):
    with start_demo(tmp_path) as demo:
        victim = int(re.findall(r"^    kill -9 (\d+)$", demo.output, re.MULTILINE)[0])
        assert "-m daphne" in demo.processes()[victim]
        first, second = demo.urls
        async with enter(second, "Kim") as kim:
            os.kill(victim, signal.SIGKILL)
            await eventually(demo.count_listening, lambda count: count == 3, timeout=WAIT)
            async with enter(first, "Lee") as lee:
                await lee.say("back again", key="l1")
                assert (await kim.hear())["text"] == "back again"
        assert "daphne ended with -9 and is started again." in demo.output

        async def kill_again() -> int | None:
            for pid, command in demo.processes().items():
                if f"tcp:port={urllib.parse.urlsplit(first).port}:" in command:
                    os.kill(pid, signal.SIGKILL)
            return demo.process.poll()

        assert await eventually(kill_again, lambda code: code is not None, timeout=END) == 1
        assert re.search(r"^daphne ended with -9. The end of its log:\n\n.+Listening", demo.output, re.M | re.S)
        assert demo.processes() == {}
