"""A round trip through the broker, and the processes that it reaches."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from django_etp.doctor.broker import check_broker, check_reached, find_processes, spans_processes
from django_etp.doctor.comparison import Process
from django_etp.doctor.facts import fingerprint
from tests.support.deployments import serve, target_at
from tests.support.layers import SharedLayer
from tests.support.valkey import LAYERS, Valkey, start_valkey

SHARED = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}


@pytest.fixture(scope="module")
def valkey() -> Iterator[Valkey]:
    with start_valkey() as valkey:
        yield valkey


@pytest.mark.parametrize("kind", LAYERS)
async def test_a_broker_brings_a_message_back_and_keeps_nothing(settings: Any, valkey: Valkey, kind: str) -> None:
    settings.CHANNEL_LAYERS = valkey.layers(kind)
    assert spans_processes()
    clients = valkey.command("CLIENT", "LIST").count(b"addr=")
    finding = await check_broker()
    assert finding.status in ("ok", "warning"), finding
    assert finding.figures["seconds"] < 5
    assert valkey.command("CLIENT", "LIST").count(b"addr=") == clients
    assert not [key for key in valkey.command("KEYS", "*") if b"group" in key]


async def test_a_broker_that_refuses_is_named(settings: Any, valkey: Valkey, unused_tcp_port: int) -> None:
    settings.CHANNEL_LAYERS = valkey.layers("pubsub", port=unused_tcp_port)
    finding = await check_broker()
    assert finding.status == "failure"
    assert f"127.0.0.1:{unused_tcp_port}" in finding.came
    assert "CHANNEL_LAYERS" in finding.remedy


async def test_a_broker_that_brings_nothing_is_named(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.CHANNEL_LAYERS = SHARED
    monkeypatch.setattr(SharedLayer, "is_away", True)
    finding = await check_broker(0.3)
    assert (finding.status, finding.came) == ("failure", "nothing within 0.3 s")


@pytest.mark.parametrize("layers", [{}, {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}])
async def test_without_a_broker_there_is_none_to_examine(settings: Any, layers: dict[str, Any]) -> None:
    settings.CHANNEL_LAYERS = layers
    finding = await check_broker()
    assert finding.status == "ok"
    assert "there is no broker" in finding.came
    assert await find_processes("n", time.time) == ([], "")


@pytest.mark.usefixtures("etp_registry")
async def test_processes_that_the_broker_reaches_tell_their_facts(settings: Any) -> None:
    settings.CHANNEL_LAYERS = SHARED
    with serve() as first, serve() as second:
        probes = [await target_at(port).open(None) for port in (first, second)]
        hubs = {probe.id.partition(".")[0] for probe in probes}  # type: ignore[union-attr]
        processes, problem = await find_processes("n", time.time)
        for probe in probes:
            await probe.close()  # type: ignore[union-attr]
    assert problem == ""
    # The newest hub of this process asks, and leaves itself out.
    assert len(processes) == 1
    assert {process.hub for process in processes} < hubs
    assert processes[0].facts is not None
    assert processes[0].facts.key == fingerprint("n")
    assert processes[0].skew == 0.0


def test_processes_that_the_broker_does_not_reach_are_named(settings: Any) -> None:
    settings.CHANNEL_LAYERS = SHARED
    finding = check_reached([Process("a")], "", [Process("a"), Process("b"), Process("")])
    assert (finding.status, finding.came) == ("failure", "1 answered, and process b did not")
    assert "one channel layer" in finding.remedy
    assert check_reached([Process("a"), Process("b")], "", [Process("a")]).status == "ok"
    assert check_reached([Process("a")], "no reply of one", [Process("a")]).status == "warning"
    assert check_reached([], "", []).status == "skipped"
