"""Visitors of a real server: they log in over HTTP, keep their cookies, and open sockets with them."""

import asyncio
import http.client
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.support.peers import WAIT, connect, expect_close
from tests.support.servers import ROOT, Server

NAMESPACE_PATH = "/visits/"

# Writes do not wait for the disk.
_SQLITE_OPTIONS = {"timeout": 30, "init_command": "PRAGMA synchronous=OFF"}


def settings_for(database: Mapping[str, Any], engine: str = "db", **more: Any) -> dict[str, Any]:
    """Return settings of the site with logins, on this database and session engine."""
    return {
        "DATABASES": {"default": dict(database)},
        "SESSION_ENGINE": f"django.contrib.sessions.backends.{engine}",
        "MESSAGE_STORAGE": "django.contrib.messages.storage.session.SessionStorage",
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        **more,
    }


def sqlite(path: Path) -> dict[str, Any]:
    """Return Django's settings for a SQLite file."""
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path), "OPTIONS": _SQLITE_OPTIONS}


def run_django(settings: Mapping[str, Any], *command: str) -> str:
    """Run a management command with the settings of the site, and return its output."""
    done = subprocess.run(
        [sys.executable, *(["-m", "django"] if command[0] != "-m" else []), *command],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.site.settings", "SITE_SETTINGS": json.dumps(dict(settings))},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stdout}{done.stderr}")
    return done.stdout


def make_sqlite(path: Path) -> None:
    """Make a SQLite file with all tables."""
    run_django(settings_for(sqlite(path)), "migrate", "-v0")
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode=WAL")
    database.close()


def copy_sqlite(made: Path, path: Path) -> dict[str, Any]:
    """Return the settings for a copy of a SQLite file."""
    shutil.copy(made, path)
    return sqlite(path)


class Visitor:
    """One browser, which sends its cookies with each request and each handshake."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.cookies: dict[str, str] = {}

    async def post(self, view: str, /, **body: Any) -> Any:
        """Call a view of `tests.site.visits_views` and return its result."""
        return await asyncio.to_thread(self._post, view, body)

    async def log_in(self, username: str, **more: Any) -> None:
        assert await self.post("log_in", username=username, **more)

    @asynccontextmanager
    async def socket(self, query: str = "") -> AsyncIterator["Socket"]:
        """Open a socket with the current cookies; keep a cookie that comes with the accept."""
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        async with connect(self.server, NAMESPACE_PATH + query, additional_headers=headers) as peer:
            assert peer.response is not None
            for header in peer.response.headers.get_all("Set-Cookie"):
                self._take(header)
            yield Socket(peer)

    def _post(self, view: str, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        try:
            cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            headers = {"Connection": "close", "Content-Type": "application/json", "Cookie": cookie}
            connection.request("POST", f"/visits/{view}/", json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        assert response.status == 200, f"{view} answered {response.status}: {text[:500]}\n{self.server.log[-3000:]}"
        for header in response.headers.get_all("Set-Cookie") or []:
            self._take(header)
        return json.loads(text)["result"]

    def _take(self, header: str) -> None:
        for name, morsel in SimpleCookie(header).items():
            if morsel.value and morsel["max-age"] != "0" and morsel["max-age"] != 0:
                self.cookies[name] = morsel.value
            else:
                self.cookies.pop(name, None)


class Socket:
    """One open socket of a visitor."""

    def __init__(self, peer: ClientConnection) -> None:
        self.peer = peer
        self._asked = 0

    async def ask(self, event: str, data: Any = None) -> Any:
        """Send an event and return the answer; ignore messages before it."""
        self._asked += 1
        start = f"__ack_{event}||{self._asked}"
        frame = f"{event}||{self._asked}"
        if data is not None:
            frame += f"||{data if isinstance(data, str) else json.dumps(data)}"
        await self.peer.send(frame)
        async with asyncio.timeout(WAIT):
            while not (answer := str(await self.peer.recv())).startswith(start):
                pass
        text = answer.partition("||")[2].partition("||")[2]
        try:
            return json.loads(text)
        except ValueError:
            return text

    async def tell(self, event: str, data: Any) -> None:
        """Send an event that wants no answer."""
        await self.peer.send(f"{event}||0||{json.dumps(data)}")

    async def closed(self, *, timeout: float = WAIT) -> int:
        """Return the code with which the server closes it."""
        return (await expect_close(self.peer, timeout=timeout))[0]
