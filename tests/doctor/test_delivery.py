"""Whether events reach connections in other processes."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from django_etp.doctor.asking import Interview
from django_etp.doctor.delivery import Met, check_delivery, check_reach, meet_processes
from tests.support.deployments import serve, target_at
from tests.support.layers import SharedLayer
from tests.support.proxy import start_proxy

pytestmark = pytest.mark.usefixtures("etp_registry")

SHARED = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}


@asynccontextmanager
async def met_at(*ports: int) -> AsyncIterator[list[Met]]:
    """Meet the processes behind a proxy to these ports."""
    with start_proxy(*ports) as proxy:
        met = await meet_processes(target_at(proxy.port), None, "n", time.time)
        yield met
        for each in met:
            await each.probe.close()


async def test_two_processes_that_a_layer_joins_are_ok(settings: Any) -> None:
    settings.CHANNEL_LAYERS = SHARED
    with serve() as first, serve() as second:
        async with met_at(first, second) as met:
            delivery, senders = await check_delivery(met, time.time), await check_reach(met)
    assert len({each.interview.hub for each in met}) == 2
    assert (delivery.status, senders.status) == ("ok", "ok"), (delivery, senders)
    assert delivery.figures["processes"] == 2


async def test_two_processes_with_a_layer_in_memory_are_named() -> None:
    with serve() as first, serve() as second:
        async with met_at(first, second) as met:
            delivery, senders = await check_delivery(met, time.time), await check_reach(met)
    assert delivery.status == "failure"
    assert "2 server processes were met, and the channel layer of" in delivery.came
    assert "is in memory" in delivery.came
    assert senders.status == "warning"


async def test_a_process_that_gets_nothing_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHANNEL_LAYERS = SHARED
    monkeypatch.setattr("django_etp.doctor.delivery._LIMIT", 0.3)
    with serve() as first, serve() as second:
        async with met_at(first, second) as met:
            by_hub = {each.interview.hub: each for each in met}
            deaf, other = by_hub
            names = {hub: each.name for hub, each in by_hub.items()}
            monkeypatch.setattr(SharedLayer, "deaf", SharedLayer.channels_of(deaf))
            delivery = await check_delivery(list(by_hub.values()), time.time)
            monkeypatch.setattr(SharedLayer, "deaf", frozenset())
    assert delivery.status == "failure"
    assert f"nothing that {names[other]} sends reaches {names[deaf]}" in delivery.came
    assert f"nothing that {names[deaf]} sends" not in delivery.came
    assert "the same broker in CHANNEL_LAYERS" in delivery.remedy


async def test_a_layer_that_refuses_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHANNEL_LAYERS = SHARED
    monkeypatch.setattr("django_etp.doctor.delivery._LIMIT", 0.3)
    with serve() as first, serve() as second:
        async with met_at(first, second) as met:
            monkeypatch.setattr(SharedLayer, "refuses", True)
            senders = await check_reach(met)
            monkeypatch.setattr(SharedLayer, "refuses", False)
    assert senders.status == "failure"
    assert "nothing reaches" in senders.came


async def test_one_process_needs_no_layer() -> None:
    with serve() as port:
        async with met_at(port) as met:
            delivery = await check_delivery(met, time.time)
    assert (delivery.status, delivery.came) == ("ok", "one server process was met")


async def test_processes_that_tell_nothing_are_not_examined() -> None:
    with serve() as first, serve() as second:
        async with met_at(first, second) as met:
            silent = [replace(each, interview=Interview(each.interview.hub, "silent")) for each in met]
            assert (await check_delivery(silent, time.time)).status == "skipped"
            nameless = [replace(each, interview=Interview("", "silent")) for each in met]
            assert (await check_delivery(nameless, time.time)).status == "skipped"
            assert (await check_reach(silent)).status == "skipped"


async def test_a_server_that_refuses_more_connections_is_met_by_those_that_it_took(unused_tcp_port: int) -> None:
    assert await meet_processes(target_at(unused_tcp_port), None, "n", time.time) == []
    assert (await check_reach([])).status == "skipped"
