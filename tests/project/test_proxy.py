"""docs/deployment.md's nginx brings all clients back while the servers behind it restart one after the other."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path

import pytest

from django_etp.client import EtpClient
from django_etp.exceptions import ConnectionClosed
from tests.support import documentation as docs
from tests.support.nginx import NGINX, start_nginx
from tests.support.servers import Server, held_port, start_server

PAGE = docs.ROOT / "docs" / "deployment.md"

CLIENTS = 20
# Clients try again after up to 5 s. Without `max_fails=0` in the page's block, 12 of 20 were still away after 45 s.
WAIT = 20.0


@pytest.mark.nginx
@pytest.mark.skipif(not NGINX, reason="nginx is missing")
async def test_all_clients_are_back_after_a_rolling_restart(tmp_path: Path):
    project = tmp_path / "project"
    project.mkdir()
    docs.build(docs.README, project)
    with (project / "mysite" / "settings.py").open("a") as settings:
        settings.write('DEBUG = False\nALLOWED_HOSTS = ["*"]\n')  # a page's origin must be `Host`, with its port
    with ExitStack() as running:
        proxy, *ports = [running.enter_context(held_port()) for _ in range(3)]
        servers = [running.enter_context(start(project, port)) for port in ports]
        running.enter_context(start_nginx(blocks_of_the_page(proxy, ports), proxy, tmp_path))
        async with AsyncExitStack() as connected:
            url, origin = f"ws://127.0.0.1:{proxy}/ws/", f"http://127.0.0.1:{proxy}"
            clients = [await connected.enter_async_context(EtpClient(url, origin=origin)) for _ in range(CLIENTS)]
            ids = [client.id for client in clients]
            for server in servers:
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(running.enter_context, start(project, server.port))
            async with asyncio.timeout(WAIT):
                await asyncio.gather(*(answers(client) for client in clients))
            assert not {client.id for client in clients} & set(ids)


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
