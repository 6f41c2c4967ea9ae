"""Two servers behind the nginx of docs/deployment.md, clients in rooms, and a process that sends to these all the time.

The servers can be restarted one after the other. Each client keeps what it hears, and how long it was away.
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django_etp.client import EtpClient
from django_etp.client.room import ClientRoom
from django_etp.conf import EtpSettings
from tests.support import documentation as docs
from tests.support.nginx import start_nginx
from tests.support.peers import eventually
from tests.support.servers import Server, held_port, start_server
from tests.support.valkey import start_valkey

PAGE = docs.ROOT / "docs" / "deployment.md"
WAIT = 60.0

# What the README's project gets in addition: a broker, a store, and users who are known by their tokens.
SETTINGS = """
DEBUG = False
ALLOWED_HOSTS = ["*"]  # a page's origin must be `Host`, with its port
CHANNEL_LAYERS = {layers}
ETP = {{
    "DRAIN_SECONDS": {drain_seconds},
    "SESSION_CHECK_INTERVAL": 36_000,  # the users are in no database
    "HISTORY": {{
        "BACKEND": "django_etp.history.RedisHistory",
        "OPTIONS": {{"url": CHANNEL_LAYERS["default"]["CONFIG"]["hosts"][0]["address"]}},
    }},
}}
"""
EVENTS = """
from django_etp import History, etp_room


@etp_room("hall", login_required=True, presence={presence})
async def hall(connection): ...


@etp_room("record", history=History(size=2000, seconds=600))
async def record(connection): ...
"""
APPLICATION = """
from django.contrib.auth.models import User
from django_etp.auth import TokenAuthMiddleware


async def authenticate(token, scope):
    return User(pk=int(token)), None


application = TokenAuthMiddleware(application, authenticate=authenticate)
"""
# Emits a number to each room, again and again, until its input ends; then prints the last number.
SENDER = """
import select, sys
from django_etp import rooms
from chat.etp_events import hall, record

number = 0
while not select.select([sys.stdin], [], [], {interval})[0]:
    number += 1
    for room in (hall(), record()):
        rooms.emit(room, "number", number)
print(number)
"""


@dataclass
class Visitor:
    """A user in both rooms.

    Attributes:
        counts: how many members the hall had at each news of them.
        heard: the numbers from each room, in the order in which they came.
        absences: for each time without a connection, how long it was, in seconds.
    """

    client: EtpClient
    hall: ClientRoom
    record: ClientRoom
    counts: list[int] = field(default_factory=list)
    heard: dict[str, list[int]] = field(default_factory=lambda: {"hall": [], "record": []})
    absences: list[float] = field(default_factory=list)
    _left_at: float | None = None

    @classmethod
    async def enter(cls, port: int, number: int, connected_at: list[float], stack: AsyncExitStack) -> "Visitor":
        """Connect through the proxy, and join."""
        client = EtpClient(f"ws://127.0.0.1:{port}/ws/", origin=f"http://127.0.0.1:{port}", token=str(number))
        visitor = cls(client, client.room("hall"), client.room("record"))
        client.on("said")(lambda event: None)

        @client.on_disconnect
        def leave(disconnect: object) -> None:
            visitor._left_at = time.monotonic()

        @client.on_connect
        def come() -> None:
            connected_at.append(now := time.monotonic())
            if visitor._left_at is not None:
                visitor.absences.append(now - visitor._left_at)

        for room in (visitor.hall, visitor.record):
            room.on("number")(visitor._listener(room.name))
        await stack.enter_async_context(client)
        await asyncio.gather(visitor.hall.join(), visitor.record.join())
        return visitor

    def _listener(self, room: str) -> Any:
        return lambda event: self.heard[room].append(int(event.data))

    def watch_members(self) -> None:
        """Keep the counts from now on."""
        self.hall.on_presence(lambda members: self.counts.append(len(members)))


class Deployment:
    """The servers, their clients and the sender; made by `deployed`."""

    def __init__(self, project: Path, proxy: int, kinds: Mapping[int, str], running: ExitStack) -> None:
        self.project = project
        self.visitors: list[Visitor] = []
        self.connected_at: list[float] = []
        self._proxy = proxy
        self._kinds = kinds
        self._running = running
        self._sender: subprocess.Popen[str] | None = None
        self.servers = {port: running.enter_context(start(project, kind, port)) for port, kind in kinds.items()}

    async def enter(self, visitors: int, stack: AsyncExitStack) -> None:
        """Let so many visitors come, a few at a time."""
        few = asyncio.Semaphore(20)

        async def one(number: int) -> None:
            async with few:
                self.visitors.append(await Visitor.enter(self._proxy, number, self.connected_at, stack))

        await asyncio.gather(*(one(number) for number in range(1, visitors + 1)))

    def start_sending(self, interval: float) -> None:
        self._sender = subprocess.Popen(
            [sys.executable, "manage.py", "shell", "-v0", "-c", SENDER.format(interval=interval)],
            cwd=self.project,
            env={name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._running.callback(self._sender.kill)

    async def stop_sending(self) -> int:
        """Return the last number, once all clients that lose nothing have it."""
        assert self._sender is not None
        printed, _ = await asyncio.to_thread(self._sender.communicate, "\n", timeout=WAIT)
        last = int(printed)

        async def probe() -> int:
            return sum(visitor.heard["record"][-1:] == [last] for visitor in self.visitors)

        await eventually(probe, lambda count: count == len(self.visitors), timeout=WAIT)
        return last

    async def restart(self, port: int, *, by_command: bool = False) -> None:
        """End a server by SIGTERM, `by_command` after `etp_drain`, and start it again."""
        server = self.servers[port]
        if by_command:
            command = ["manage.py", "etp_drain", "--pid", str(server.process.pid)]
            assert "Drained in " in await asyncio.to_thread(docs.python, self.project, *command)
        await asyncio.to_thread(server.stop, timeout=WAIT)
        self.servers[port] = await asyncio.to_thread(
            self._running.enter_context, start(self.project, self._kinds[port], port)
        )

    async def all_are_back(self) -> None:
        """Wait until each visitor is in both rooms."""

        async def probe() -> list[int]:
            visitors = self.visitors
            return [
                sum(visitor.client.is_connected for visitor in visitors),
                *(
                    sum(room.is_joined for room in rooms)
                    for rooms in zip(*((v.hall, v.record) for v in visitors), strict=True)
                ),
            ]

        await eventually(probe, lambda counts: set(counts) == {len(self.visitors)}, timeout=WAIT)

    def most_handshakes(self, seconds: float, since: float) -> int:
        """Return the most connections that were made within so many seconds."""
        times = sorted(each for each in self.connected_at if each >= since)
        return max((sum(at <= each < at + seconds for each in times) for at in times), default=0)


@asynccontextmanager
async def deployed(
    directory: Path, kinds: Sequence[str], visitors: int, *, drain_seconds: float
) -> AsyncIterator[Deployment]:
    """Run two servers of these kinds, and so many visitors, until the block ends.

    The hall has presence unless there are more visitors than rooms with presence list.
    """
    project = directory / "project"
    project.mkdir()
    docs.build(docs.README, project)
    with ExitStack() as running:
        layers = running.enter_context(start_valkey()).layers("pubsub")
        for file, text in {
            "mysite/settings.py": SETTINGS.format(layers=layers, drain_seconds=drain_seconds),
            "chat/etp_events.py": EVENTS.format(presence=visitors <= EtpSettings().presence_limit),
            "mysite/asgi.py": APPLICATION,
        }.items():
            with (project / file).open("a") as module:
                module.write(text)
        proxy, *ports = [running.enter_context(held_port()) for _ in range(3)]
        deployment = Deployment(project, proxy, dict(zip(ports, kinds, strict=True)), running)
        running.enter_context(start_nginx(blocks_of_the_page(proxy, ports), proxy, directory))
        async with AsyncExitStack() as connected:
            await deployment.enter(visitors, connected)
            yield deployment


@contextmanager
def start(project: Path, kind: str, port: int) -> Iterator[Server]:
    env = {"PYTHONPATH": str(project)}
    with start_server(kind, "mysite.asgi:application", env=env, port=port) as server:
        yield server


def blocks_of_the_page(proxy: int, ports: Sequence[int]) -> str:
    """Return the page's nginx configuration with these ports in place of its own."""
    (block,) = [block for block in docs.blocks("nginx") if block.page == PAGE]
    text = block.text
    for old, new in {"80": f"127.0.0.1:{proxy}", "8001": str(ports[0]), "8002": str(ports[1])}.items():
        text, found = re.subn(rf"\b{old}\b", new, text)
        assert found == 1, f"the page's nginx block holds the port {old} {found} times"
    return text
