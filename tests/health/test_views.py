"""The views for health checks, under ASGI and WSGI."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import channels_redis.core
import channels_redis.pubsub  # noqa: F401  (an import takes longer than a check)
import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient, Client
from django.urls import include, path

from django_etp.draining import draining
from tests.support.valkey import Valkey, start_valkey

urlpatterns = [path("etp/", include("django_etp.urls"))]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
]

pytestmark = [pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _site(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = MIDDLEWARE
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


@pytest.fixture
def broker(settings: Any) -> Iterator[Valkey]:
    with start_valkey() as valkey:
        settings.CHANNEL_LAYERS = valkey.layers("pubsub")
        yield valkey


async def by_asgi(url: str) -> Any:
    return await AsyncClient().get(url)


async def by_wsgi(url: str) -> Any:
    return await sync_to_async(Client().get, thread_sensitive=False)(url)


both = pytest.mark.parametrize("get", [by_asgi, by_wsgi])


@both
async def test_a_process_that_serves_is_live(get: Callable[[str], Any]) -> None:
    response = await get("/etp/live/")
    assert (response.status_code, response.json()) == (200, {"status": "live"})
    assert "no-store" in response["Cache-Control"]


@both
async def test_a_process_whose_database_answers_is_ready(get: Callable[[str], Any]) -> None:
    response = await get("/etp/ready/")
    assert response.json() == {"status": "ready", "checks": {"database": "ok"}}
    assert response.status_code == 200


@both
async def test_a_process_that_drains_is_live_and_not_ready(
    get: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "has_begun", True)
    response = await get("/etp/ready/")
    assert (response.status_code, response.json()) == (503, {"status": "not ready", "reason": "drain"})
    assert (await get("/etp/live/")).status_code == 200


@both
async def test_both_answer_within_a_second_while_the_broker_is_frozen(
    get: Callable[[str], Any], broker: Valkey
) -> None:
    assert (await get("/etp/ready/")).json()["checks"] == {"broker": "ok", "database": "ok"}
    broker.pause()
    started_at = time.monotonic()
    response = await get("/etp/ready/")
    assert time.monotonic() - started_at < 1
    outcomes = {"broker": "no answer within 0.7 s", "database": "ok"}
    assert (response.status_code, response.json()) == (503, {"status": "not ready", "checks": outcomes})
    assert (await get("/etp/live/")).status_code == 200
    broker.resume()


async def test_head_is_answered_and_post_is_not() -> None:
    assert (await AsyncClient().head("/etp/ready/")).status_code == 200
    assert (await AsyncClient().post("/etp/ready/")).status_code == 405
