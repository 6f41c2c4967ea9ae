"""docs/deployment.md is true: its project runs on both servers at once, and is reached from everywhere it says."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml
from django.core.management import get_commands
from websockets.asyncio.client import ClientConnection

from django_etp.conf import EtpSettings
from tests.support import documentation as docs
from tests.support.peers import WAIT, connect, receive
from tests.support.servers import Server, start_server
from tests.support.valkey import Valkey, start_valkey

PAGE = docs.ROOT / "docs" / "deployment.md"


class Project:
    """The page's project, with its broker and a server of either kind."""

    def __init__(self, directory: Path, valkey: Valkey) -> None:
        self.directory = directory
        self.valkey = valkey
        self.env = {"PYTHONPATH": str(directory), "BROKER_URL": f"redis://127.0.0.1:{valkey.port}/0"}
        self.servers: list[Server] = []

    def python(self, *arguments: str) -> str:
        """Run Python in the project and return what it printed; fail when it failed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.directory,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"} | self.env


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    directory = tmp_path_factory.mktemp("deployment")
    docs.build(docs.README, directory)
    docs.build(PAGE, directory)
    with start_valkey() as valkey, ExitStack() as servers:
        project = Project(directory, valkey)
        for kind in ("daphne", "uvicorn"):
            server = start_server(kind, "mysite.asgi:application", env=project.env)
            project.servers.append(servers.enter_context(server))
        yield project
        assert [server.complaints for server in project.servers] == [[], []]


async def expect(peer: ClientConnection, frame: str) -> None:
    """Wait for a frame; others that come before are passed over."""
    async with asyncio.timeout(3 * WAIT):
        while await receive(peer, timeout=3 * WAIT) != frame:
            pass


async def test_servers_of_both_kinds_share_a_room(project: Project):
    first, second = project.servers
    async with connect(first) as ana, connect(second) as ben:
        await ana.send("say||0||from daphne")
        await expect(ben, "said||0||from daphne")
        await ben.send("say||0||from uvicorn")
        await expect(ana, "said||0||from uvicorn")


async def test_management_command_reaches_both(project: Project):
    first, second = project.servers
    async with connect(first) as ana, connect(second) as ben:
        for peer in (ana, ben):
            await peer.send("say||1||hello")
            await expect(peer, "__ack_say||1||delivered")  # it is in the lobby
        printed = await asyncio.to_thread(project.python, "manage.py", "announce", "lunch")
        await expect(ana, "said||0||lunch")
        await expect(ben, "said||0||lunch")
    assert printed == "Told 2 connections.\n"


@pytest.fixture
def worker(project: Project) -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "--app", "mysite.celery", "worker", "--concurrency", "1"]
    with (project.directory / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project.directory, env=project.environment, stdout=log, stderr=subprocess.STDOUT
        )
    yield
    process.terminate()
    process.wait(timeout=30)


@pytest.mark.usefixtures("worker")
async def test_celery_task_reaches_both(project: Project):
    first, second = project.servers
    async with connect(first) as ana, connect(second) as ben:
        await asyncio.to_thread(project.python, "-c", "from chat.tasks import announce; announce.delay('coffee')")
        await expect(ana, "said||0||coffee")
        await expect(ben, "said||0||coffee")


async def test_members_are_told_to_fetch_again_what_was_lost(project: Project):
    first, second = project.servers
    async with connect(first) as ana, connect(second) as ben:
        await ana.send("say||0||before")
        await expect(ben, "said||0||before")
        project.valkey.kill()
        await ana.send("say||0||lost")
        await asyncio.to_thread(first.wait_for_log, "LayerUnavailable")
        project.valkey.start()
        await expect(ben, "fetch again||0")


def test_settings_for_the_other_layer_pass_the_checks(project: Project):
    check = ["manage.py", "check", "--settings", "mysite.settings_redis", "--fail-level", "WARNING"]
    assert "no issues" in project.python(*check)
    layers = "import json, mysite.settings_redis as s; print(json.dumps(s.CHANNEL_LAYERS['default']))"
    layer = json.loads(project.python("-c", layers))
    assert (layer["BACKEND"], layer["CONFIG"]["capacity"]) == ("channels_redis.core.RedisChannelLayer", 20_000)


def test_page_names_every_check_of_the_layer_the_handlers_and_the_histories():
    package = docs.ROOT / "django_etp"
    modules = ("checks/layers.py", "events/checks.py", "history/checks.py")
    ids = {id for each in modules for id in re.findall(r"django_etp\.[EW]\d{3}", (package / each).read_text())}
    assert set(re.findall(r"^\| `(django_etp\.[EW]\d{3})` \|", PAGE.read_text(), re.MULTILINE)) == ids


def test_proxy_knows_the_servers_that_the_page_starts():
    (proxy,) = [block for block in docs.blocks("nginx") if block.page == PAGE]
    commands = " ".join(command for block in docs.blocks("console") if block.page == PAGE for command in block.commands)
    ports = re.findall(r"--port (\d+)", commands)
    assert list(dict.fromkeys(ports)) == re.findall(r"server 127\.0\.0\.1:(\d+) max_fails=0;", proxy.text)


def test_examples_give_a_drain_the_time_that_it_may_take():
    text = PAGE.read_text()
    drain_seconds = int(re.findall(r'"DRAIN_SECONDS": (\d+)', text)[0])
    longest = drain_seconds + EtpSettings().disconnect_grace + 10
    (manifest,) = [yaml.safe_load(block.text) for block in docs.blocks("yaml") if block.page == PAGE]
    pod = manifest["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > longest
    (unit,) = [block.text for block in docs.blocks("ini") if block.page == PAGE]
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[0]) > longest
    assert manifest["spec"]["selector"]["matchLabels"] == manifest["spec"]["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["python", "manage.py", "etp_drain"]
    assert "etp_drain" in get_commands()
    ports = {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")}
    assert ports == {port["containerPort"] for port in container["ports"]}
