"""A real site with two tenants, acme and beta, whose users have the same primary keys: the recipe's site and more."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect

from tests.support import documentation as docs
from tests.support.peers import WAIT
from tests.support.postgres import start_postgres
from tests.support.servers import Server, start_server

# The users of a tenant have the keys 1, 2, ...; the last one may use the admin.
USERS = 6

_SETTINGS = """
ALLOWED_HOSTS = ["*"]
ETP = {"SYNC_WORKERS": 1, "SESSION_CHECK_INTERVAL": 0.5}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""

_EVENTS = """
from django.contrib.sessions.models import Session
from django.db import connection as database
from django_tenants.utils import schema_context


@etp_event("ausers")
async def ausers(connection, event):
    return [user.get_username() async for user in get_user_model().objects.order_by("pk")]


@etp_event("tenant")
def tenant(connection, event):
    return [database.schema_name, getattr(database.tenant, "name", "")]


@etp_event("forget to reset")
def forget_to_reset(connection, event):
    database.set_schema("beta")


@etp_event("remember")
async def remember(connection, event):
    connection.data["text"] = event.data


@etp_event("recall")
def recall(connection, event):
    found = [session.get_decoded().get("etp", {}) for session in Session.objects.all()]
    return [shares[connection.id] for shares in found if connection.id in shares]


@etp_event("room")
async def room(connection, event):
    return rooms.user(int(event.data))


@etp_event("room from a thread")
def room_from_a_thread(connection, event):
    with schema_context("public"):
        return [rooms.user(int(event.data)), rooms.user(connection.user)]


@etp_event("log in")
async def log_in(connection, event):
    connection.scope["user"] = await get_user_model().objects.aget(pk=int(event.data))
"""

_VIEWS = """
from django.contrib.auth import alogin, get_user_model, login, logout
from django.db import connection
from django_etp import rooms


def answer(function):
    def view(request, **kwargs):
        return HttpResponse(str(function(request, **kwargs)))
    return view


@answer
def enter(request, pk):
    login(request, get_user_model().objects.get(pk=pk), "django.contrib.auth.backends.ModelBackend")


@answer
def leave(request):
    logout(request)


@answer
def save(request):
    request.user.first_name = "changed"
    request.user.save()


@answer
def change_password(request):
    user = get_user_model().objects.get(pk=request.user.pk)
    user.set_password("another")
    user.save()


@answer
def deactivate(request):
    get_user_model().objects.filter(pk=request.user.pk).update(is_active=False)


@answer
def notify(request):
    rooms.emit(rooms.user(request.user), "note", f"from {request.tenant.schema_name}")
    rooms.emit(rooms.user(request.user.pk), "note", f"by key from {request.tenant.schema_name}")


async def anotify(request):
    await rooms.aemit(rooms.user(await request.auser()), "note", f"async from {request.tenant.schema_name}")
    return HttpResponse("")


@answer
def change_data(request):
    for info in rooms.members(rooms.user(request.user)):
        rooms.update_data(info.id, {"text": "by a view"})
    return info.user_id
"""

_URLS = """
from django.contrib import admin
from django.urls import path
from chat import views

urlpatterns = [path("admin/", admin.site.urls), path("enter/<int:pk>/", views.enter)]
for view in ("leave", "save", "change_password", "deactivate", "notify", "anotify", "change_data"):
    urlpatterns.append(path(f"{view}/", getattr(views, view)))
"""

_FILL = f"""
from django.contrib.auth import get_user_model
from django_tenants.utils import schema_context
from tenants.models import Domain, Tenant

for name in ("public", "acme", "beta"):
    tenant = Tenant.objects.create(schema_name=name, name=name.title())
    Domain.objects.create(domain=f"{{name}}.localhost", tenant=tenant, is_primary=True)
    with schema_context(name):
        get_user_model().objects.bulk_create(
            get_user_model()(pk=pk, username=f"{{name}}{{pk}}", is_staff=pk == {USERS}, is_superuser=pk == {USERS})
            for pk in range(1, {USERS} + 1)
        )
"""


@dataclass(frozen=True, slots=True)
class TenantSite:
    """The site, while it is served."""

    server: Server
    project: Path
    env: Mapping[str, str]

    def get(self, tenant: str, path: str, cookie: str = "", *, status: int = 200) -> tuple[str, str]:
        """Return the body of a page of a tenant, and the cookies that it sets."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=WAIT)
        try:
            connection.request("GET", path, headers={"Host": f"{tenant}.localhost", "Cookie": cookie})
            response = connection.getresponse()
            body = response.read().decode()
            assert response.status == status, body[:1000]
            cookies = response.headers.get_all("Set-Cookie") or []
            return body, "; ".join(cookie.partition(";")[0] for cookie in cookies)
        finally:
            connection.close()

    def connect(self, tenant: str, cookie: str = "") -> websockets_connect:
        """Return a connection to enter, as `peers.connect` does."""
        return websockets_connect(
            f"ws://{tenant}.localhost:{self.server.port}/ws/",
            host="127.0.0.1",
            port=self.server.port,
            proxy=None,
            additional_headers={"Cookie": cookie},
        )

    def manage(self, *arguments: str) -> str:
        """Run `manage.py` beside the server, and return its output."""
        return _manage(self.project, self.env, *arguments)


async def ask(peer: ClientConnection, event: str, data: object = "") -> Any:
    """Send an event and return the answer, from JSON if it is not empty."""
    await peer.send(f"{event}||1||{data}")
    frame = str(await peer.recv())
    begin = f"__ack_{event}||1"
    assert frame.startswith(begin), frame
    text = frame.removeprefix(begin).removeprefix("||")
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextmanager
def start_tenant_site(project: Path) -> Iterator[TenantSite]:
    """Build the site in a folder, and serve it until the block ends."""
    for page in (docs.README, docs.ROOT / "docs" / "recipes" / "tenants.md"):
        docs.build(page, project)
    for name, text in {
        "mysite/settings_tenants.py": _SETTINGS,
        "chat/etp_events.py": _EVENTS,
        "chat/views.py": _VIEWS,
    }.items():
        with (project / name).open("a") as file:
            file.write(text)
    (project / "mysite" / "urls.py").write_text(_URLS)
    with start_postgres() as database:
        env = {
            "PYTHONPATH": str(project),
            "DJANGO_SETTINGS_MODULE": "mysite.settings_tenants",
            "PGHOST": database["HOST"],
            "PGPORT": str(database["PORT"]),
            "PGUSER": database["USER"],
            "PGDATABASE": database["NAME"],
        }
        _manage(project, env, "makemigrations", "tenants", "-v0")
        _manage(project, env, "migrate_schemas", "--shared", "-v0")
        _manage(project, env, "shell", "-v0", "-c", _FILL)
        with start_server("uvicorn", "mysite.asgi_tenants:application", env=env) as server:
            yield TenantSite(server, project, env)
            server.stop()
            assert server.complaints == []


def _manage(project: Path, env: Mapping[str, str], *arguments: str) -> str:
    process = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=project,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout
