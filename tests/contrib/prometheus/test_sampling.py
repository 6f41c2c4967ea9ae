"""Samples of a hub: its rooms, its queues and the outbox."""

import asyncio
from typing import Any

import pytest
from prometheus_client import REGISTRY

from django_etp import rooms
from django_etp.contrib.prometheus import sampling
from django_etp.contrib.prometheus.sampling import Sampler
from django_etp.hub.process import serving_hub
from tests.support.inprocess import Wire, until
from tests.support.outbox import row
from tests.support.rooms import clients

pytestmark = [pytest.mark.usefixtures("etp_registry"), pytest.mark.django_db]


def value(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_INTERVAL", 0.02)


async def test_rooms_are_sampled_while_they_exist() -> None:
    sampler = Sampler()
    async with clients("a b", "a", namespace="sampled"):
        sampler.start(serving_hub())
        assert value("etp_rooms", namespace="sampled") == 2
        sampler.start(serving_hub())
        await rooms.of("sampled").aclear("b")
        await until(lambda: value("etp_rooms", namespace="sampled") == 1)
    await until(lambda: value("etp_rooms", namespace="sampled") == 0)
    await sampler.stop()
    async with clients("a", namespace="sampled"):
        await asyncio.sleep(0.1)
        assert value("etp_rooms", namespace="sampled") == 0


async def test_clients_that_are_behind_are_sampled_with_what_waits_for_them() -> None:
    goes_on = asyncio.Event()

    async def hang(message: dict[str, Any]) -> None:
        if message["type"] == "websocket.send":
            await goes_on.wait()

    sampler = Sampler()
    async with Wire(on_send=hang):
        await rooms.abroadcast("news", "x" * 1000)
        sampler.start(serving_hub())
        await until(lambda: value("etp_outbox_clients") == 1)
        assert value("etp_outbox_bytes") == 1009
        goes_on.set()
        await until(lambda: value("etp_outbox_bytes") == 0)
    await sampler.stop()


async def test_the_layer_is_sampled(settings: Any) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}
    sampler = Sampler()
    async with clients("a"):
        hub = serving_hub()
        hub.send("default", ["a"], "news||0", frozenset())
        sampler.start(hub)
        assert (value("etp_publish_queue_events"), value("etp_publish_queue_bytes")) == (1, 7)
        await until(lambda: value("etp_publish_queue_events") == 0)
        await until(lambda: 0 < (value("etp_layer_lag_seconds") or 0) < 2)
        await sampler.stop()
    await hub.stop()


@pytest.mark.django_db(transaction=True)
async def test_the_outbox_is_sampled() -> None:
    await row("news").asave()
    sampler = Sampler()
    async with clients(""):
        sampler.start(serving_hub())
        await until(lambda: value("etp_relay_waiting_events", database="default") == 1)
        assert (value("etp_relay_lag_seconds", database="default") or 0) > 0
        assert value("etp_relay_failed_events", database="default") == 0
        await sampler.stop()
