"""Show the live page in Chromium while four servers hold 10,000 connections, and measure how soon it shows them.

`make live` runs it, prints a table, and exits with 1 if a page took 2 s or more.
"""

import argparse
import asyncio
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.settings import MIDDLEWARE, TEMPLATES
from tests.site.settings import INSTALLED_APPS
from tests.support.browser import start_browser
from tests.support.crowd import PINGLESS, Crowd
from tests.support.servers import COMMANDS, ROOT, Server, start_server
from tests.support.valkey import LAYERS, start_valkey

SERVERS = 4
LIMIT = 2.0  # seconds
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 375, "height": 812}}
MAKE_USERS = """
from django.contrib.auth.models import User
User.objects.bulk_create(User(pk=number, username=f"user{number}") for number in range(1, %d + 1))
User.objects.create_superuser("admin", password="secret")
"""


def settings_with(layers: dict[str, Any], database: Path) -> dict[str, Any]:
    """Return the settings of the servers, which share a database."""
    apps = ["admin", "messages", "staticfiles"]
    return {
        "CHANNEL_LAYERS": layers,
        "DATABASES": {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(database)}},
        "INSTALLED_APPS": [*INSTALLED_APPS, *(f"django.contrib.{name}" for name in apps)],
        "MIDDLEWARE": MIDDLEWARE,
        "ROOT_URLCONF": "tests.site.live",
        "TEMPLATES": TEMPLATES,
        "STATIC_URL": "/static/",
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
    }


@contextmanager
def start_site(kind: str, layer: str, clients: int) -> Iterator[list[Server]]:
    """Run four servers with this many connections."""
    with ExitStack() as stack:
        valkey = stack.enter_context(start_valkey())
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        settings = settings_with(valkey.layers(layer), Path(directory) / "live.sqlite3")
        for command in (["migrate", "-v0"], ["shell", "-v0", "-c", MAKE_USERS % clients]):
            env = os.environ | {"DJANGO_SETTINGS_MODULE": "tests.site.settings", "SITE_SETTINGS": json.dumps(settings)}
            subprocess.run([sys.executable, "-m", "django", *command], cwd=ROOT, env=env, check=True)
        application = "tests.site.live:application"
        servers = [
            stack.enter_context(start_server(kind, application, settings=settings, options=PINGLESS[kind]))
            for _ in range(SERVERS)
        ]
        crowd = stack.enter_context(Crowd())
        for number in range(0, clients, 100):  # a few at a time: daphne gives a handshake 5 s
            paths = [f"/{each + 1}/?everyone,room{each}" for each in range(number, min(number + 100, clients))]
            crowd.connect(servers[number // 100 % SERVERS], paths)
        yield servers


async def measure(server: Server, clients: int) -> list[tuple[str, str, float]]:
    """Return the width, the page and the seconds until it showed its rows."""
    measured = []
    async with start_browser() as browser:
        for width, size in SIZES.items():
            page = await (await browser.new_context(viewport=size)).new_page()
            await page.goto(f"http://{server.host}/admin/login/?next=/admin/")
            await page.get_by_label("Username").fill("admin")
            await page.get_by_label("Password").fill("secret")
            await page.get_by_role("button", name="Log in").click()
            for name, seconds in await visit(page, clients):
                measured.append((width, name, seconds))
    return measured


async def visit(page: Page, clients: int) -> list[tuple[str, float]]:
    """Go through the pages; return the seconds that each of them took from the click."""
    rows, counted = page.locator("[data-rows] tr"), page.locator("[data-range]")
    measured = []

    async def step(name: str, act: Callable[[], Awaitable[Any]], *checks: Awaitable[None]) -> None:
        began_at = time.perf_counter()
        await act()
        for check in checks:
            await check
        measured.append((name, time.perf_counter() - began_at))

    await step(
        "connections",
        page.get_by_role("link", name="Live page").first.click,
        expect(rows).to_have_count(50),
        expect(counted).to_have_text(f"1 to 50 of {clients:,}"),
    )
    await step("next page", page.get_by_role("link", name="Next").click, expect(counted).to_contain_text("51 to 100"))
    await page.get_by_label("Search").fill(f"user{clients}")
    await step("search", page.get_by_role("button", name="Search").click, expect(rows).to_have_count(1))
    link = page.get_by_role("link", name=f"user{clients}")
    await step("connection", link.click, expect(page.locator("[data-fact=user]")).to_have_text(f"user{clients}"))
    await expect(page.locator("[data-fact=frames]")).to_have_text(re.compile(r"\d"))
    await step("room", page.get_by_role("link", name="everyone").click, expect(counted).to_contain_text(f"{clients:,}"))
    await step("rooms", page.get_by_role("link", name="Rooms").click, expect(rows).to_have_count(50))
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.strain.live", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--server", choices=COMMANDS, default="uvicorn-etp")
    parser.add_argument("--layer", choices=LAYERS, default="pubsub")
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    expect.set_options(timeout=30_000)
    with start_site(options.server, options.layer, options.clients) as servers:
        print(f"{options.clients:,} connections over {SERVERS} processes of {options.server}", flush=True)
        measured = asyncio.run(measure(servers[0], options.clients))
    for width, name, seconds in measured:
        print(f"{width:<10}{name:<14}{seconds:6.2f} s{'' if seconds < LIMIT else '  TOO SLOW'}")
    return int(any(seconds >= LIMIT for *_, seconds in measured))


if __name__ == "__main__":
    sys.exit(main())
