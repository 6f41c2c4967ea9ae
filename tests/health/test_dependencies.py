"""The broker and the database, each with one that answers, one that is away and one that is frozen."""

import socket
from collections.abc import Iterator
from typing import Any

import channels_redis.core
import channels_redis.pubsub  # noqa: F401  (an import takes longer than a check)
import pytest
from django.db import connections

from django_etp.health.checks import OK
from django_etp.health.dependencies import dependencies
from tests.support.valkey import LAYERS, Valkey, start_valkey

FROZEN = "no answer within 0.7 s"


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with start_valkey() as valkey:
        yield valkey


@pytest.fixture
def frozen_port() -> Iterator[int]:
    """A port on which connections are taken and nothing answers, as by a process that is stopped."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def outcomes() -> dict[str, str]:
    return {name: await check.outcome() for name, check in dependencies()}


def use_postgres(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setitem(
        connections.settings,
        "default",
        {
            **connections.settings["default"],
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "USER": "etp",
            "HOST": "127.0.0.1",
            "PORT": port,
        },
    )


@pytest.mark.parametrize("kind", LAYERS)
async def test_a_broker_that_answers_is_ok_and_keeps_no_connection(settings: Any, valkey: Valkey, kind: str) -> None:
    settings.CHANNEL_LAYERS = valkey.layers(kind)
    clients = valkey.command("CLIENT", "LIST").count(b"addr=")
    assert (await outcomes())["broker"] == OK
    assert valkey.command("CLIENT", "LIST").count(b"addr=") == clients


@pytest.mark.parametrize("kind", LAYERS)
async def test_a_broker_that_refuses_is_named(settings: Any, valkey: Valkey, kind: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        settings.CHANNEL_LAYERS = valkey.layers(kind, port=holder.getsockname()[1])
        assert (await outcomes())["broker"] == "failed with ConnectionError"


@pytest.mark.parametrize("kind", LAYERS)
async def test_a_broker_that_is_frozen_is_named(settings: Any, kind: str) -> None:
    with start_valkey() as valkey:
        settings.CHANNEL_LAYERS = valkey.layers(kind)
        valkey.pause()
        assert (await outcomes())["broker"] == FROZEN
        valkey.resume()


@pytest.mark.parametrize("layers", [{}, {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}])
async def test_without_a_broker_there_is_none_to_check(settings: Any, layers: dict[str, Any]) -> None:
    settings.CHANNEL_LAYERS = layers
    assert [name for name, _ in dependencies()] == ["database"]


async def test_without_a_database_there_is_none_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(connections.settings, "default", {"ENGINE": "django.db.backends.dummy"})
    assert [name for name, _ in dependencies()] == []


@pytest.mark.django_db
async def test_a_database_that_answers_is_ok() -> None:
    assert (await outcomes())["database"] == OK


@pytest.mark.django_db
async def test_a_database_that_is_frozen_is_named(monkeypatch: pytest.MonkeyPatch, frozen_port: int) -> None:
    use_postgres(monkeypatch, frozen_port)
    assert (await outcomes())["database"] == FROZEN


@pytest.mark.django_db
async def test_a_database_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        use_postgres(monkeypatch, holder.getsockname()[1])
        assert (await outcomes())["database"] == "failed with OperationalError"
