"""docs/deployment.md's nginx brings all clients back while the servers behind it restart one after the other."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from django_etp.client import EtpClient
from django_etp.client.room import ClientRoom
from django_etp.exceptions import ConnectionClosed
from tests.support import documentation as docs
from tests.support.nginx import NGINX, start_nginx
from tests.support.peers import eventually
from tests.support.servers import Server, held_port, start_server
from tests.support.valkey import start_valkey

PAGE = docs.ROOT / "docs" / "deployment.md"

CLIENTS = 20
# Clients try again after up to 5 s. Without `max_fails=0` in the page's block, 12 of 20 were still away after 45 s.
WAIT = 20.0

pytestmark = [
    pytest.mark.nginx,
    pytest.mark.skipif(not NGINX, reason="nginx is missing"),
    pytest.mark.asyncio(loop_scope="module"),
]

# What the README's project gets in addition: a broker, and users who are known by their tokens.
SETTINGS = """
DEBUG = False
ALLOWED_HOSTS = ["*"]  # a page's origin must be `Host`, with its port
CHANNEL_LAYERS = {layers}
"""
EVENTS = """
from django_etp import etp_room


@etp_room("hall", login_required=True, presence=True)
async def hall(connection): ...
"""
APPLICATION = """
from django.contrib.auth.models import User
from django_etp.auth import TokenAuthMiddleware


async def authenticate(token, scope):
    return User(pk=int(token)), None


application = TokenAuthMiddleware(application, authenticate=authenticate)
"""


@dataclass
class Visitor:
    """A user in the hall, who keeps how many members the hall had at each news of them."""

    client: EtpClient
    hall: ClientRoom
    counts: list[int] = field(default_factory=list)

    def note(self, members: Mapping[str, object]) -> None:
        self.counts.append(len(members))


@dataclass
class Restart:
    """All visitors after a rolling restart, and the ids of their connections before it."""

    visitors: list[Visitor]
    ids: set[str | None]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def restart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Restart]:
    directory = tmp_path_factory.mktemp("proxy")
    project = directory / "project"
    project.mkdir()
    docs.build(docs.README, project)
    with ExitStack() as running:
        layers = running.enter_context(start_valkey()).layers("pubsub")
        for file, text in {
            "mysite/settings.py": SETTINGS.format(layers=layers),
            "chat/etp_events.py": EVENTS,
            "mysite/asgi.py": APPLICATION,
        }.items():
            with (project / file).open("a") as module:
                module.write(text)
        proxy, *ports = [running.enter_context(held_port()) for _ in range(3)]
        servers = [running.enter_context(start(project, port)) for port in ports]
        running.enter_context(start_nginx(blocks_of_the_page(proxy, ports), proxy, directory))
        async with AsyncExitStack() as connected:
            visitors = []
            for number in range(CLIENTS):
                client = EtpClient(f"ws://127.0.0.1:{proxy}/ws/", origin=f"http://127.0.0.1:{proxy}", token=str(number))
                client.on("said")(lambda event: None)
                await connected.enter_async_context(client)
                visitors.append(Visitor(client, client.room("hall")))
                await visitors[-1].hall.join()
            await all_see_all(visitors)
            for visitor in visitors:
                visitor.hall.on_presence(visitor.note)
            ids = {visitor.client.id for visitor in visitors}
            for server in servers:
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(running.enter_context, start(project, server.port))
            async with asyncio.timeout(WAIT):
                await asyncio.gather(*(answers(visitor.client) for visitor in visitors))
            yield Restart(visitors, ids)


async def test_all_clients_are_back_after_a_rolling_restart(restart: Restart) -> None:
    assert not {visitor.client.id for visitor in restart.visitors} & restart.ids


async def test_no_member_flickers_during_a_rolling_restart(restart: Restart) -> None:
    await all_see_all(restart.visitors)
    for visitor in restart.visitors:
        assert set(visitor.counts) == {CLIENTS}


async def all_see_all(visitors: list[Visitor]) -> None:
    async def probe() -> set[int]:
        return {len(visitor.hall.members) if visitor.hall.is_joined else 0 for visitor in visitors}

    await eventually(probe, lambda counts: counts == {CLIENTS}, timeout=WAIT)


@contextmanager
def start(project: Path, port: int) -> Iterator[Server]:
    env = {"PYTHONPATH": str(project)}
    with start_server("uvicorn", "mysite.asgi:application", env=env, port=port) as server:
        yield server


def blocks_of_the_page(proxy: int, ports: list[int]) -> str:
    """Return the page's nginx configuration with these ports in place of its own."""
    (block,) = [block for block in docs.blocks("nginx") if block.page == PAGE]
    text = block.text
    for old, new in {"80": f"127.0.0.1:{proxy}", "8001": str(ports[0]), "8002": str(ports[1])}.items():
        text, found = re.subn(rf"\b{old}\b", new, text)
        assert found == 1, f"the page's nginx block holds the port {old} {found} times"
    return text


async def answers(client: EtpClient) -> None:
    """Wait until the client has a connection on which the server answers."""
    while True:
        try:
            await client.emit_with_ack("say", "back")
        except ConnectionClosed:
            await asyncio.sleep(0.05)
        else:
            return
