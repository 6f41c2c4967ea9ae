"""The metrics of four server processes under load, compared with what the clients counted."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import ClientConnection

from django_etp import MessagesLost
from django_etp.contrib.prometheus import metrics
from django_etp.contrib.prometheus.receivers import connect_receivers
from django_etp.signals import (
    connected,
    disconnected,
    event_handled,
    messages_lost,
    notify,
    room_sent,
    slow_client_closed,
)
from tests.site.settings import INSTALLED_APPS
from tests.support.peers import connect, eventually
from tests.support.servers import Server, start_server

CLIENTS = 24
ROUNDS = 20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    env = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("metrics"))}
    settings = {"INSTALLED_APPS": [*INSTALLED_APPS, "django_etp.contrib.prometheus"]}
    with start_server("uvicorn", settings=settings, env=env, options=["--workers", "4"]) as server:
        server.wait_for_log(r"(?s)(Started server process .*){4}", timeout=60)
        yield server
        server.stop()
        assert server.complaints == []


Samples = dict[tuple[str, ...], float]


def scrape(server: Server) -> Samples:
    """Return the values of the namespace "default", by the metric's name and the labels."""
    samples: Samples = {}
    for family in text_string_to_metric_families(server.get("/metrics/")):
        for sample in family.samples:
            if sample.labels.get("namespace", "default") == "default" and "le" not in sample.labels:
                labels = [sample.labels[name] for name in ("event", "outcome", "code") if name in sample.labels]
                samples[sample.name, *labels] = sample.value
    return samples


async def load(peer: ClientConnection, number: int) -> Counter[str]:
    """Send events in each round, and wait for the answer to the last; return how many answers came, by event."""
    answers: Counter[str] = Counter()
    for round in range(ROUNDS):
        for at, name in enumerate(["echo", "nil", f"made-up-{number}-{round}", "echo"], 1):
            await peer.send(f"{name}||{4 * round + at}||data")
    async with asyncio.timeout(60):
        while answers.total() < 4 * ROUNDS:
            name, *_ = str(await peer.recv()).split("||", 2)
            answers["made-up" if "made-up" in name else name.removeprefix("__ack_")] += 1
    return answers


async def test_the_metrics_of_four_processes_are_what_the_clients_counted(server: Server) -> None:
    peers = await asyncio.gather(*(connect(server) for _ in range(CLIENTS)))
    counted: Counter[str] = sum(
        await asyncio.gather(*(load(peer, number) for number, peer in enumerate(peers))), Counter()
    )
    expected = {
        ("etp_connections",): CLIENTS,
        ("etp_events_total", "echo", "ok"): counted["echo"],
        ("etp_events_total", "nil", "ok"): counted["nil"],
        ("etp_events_total", "(unknown)", "unknown_event"): counted["made-up"],
        ("etp_event_seconds_count", "echo"): counted["echo"],
        ("etp_event_seconds_count", "nil"): counted["nil"],
        ("etp_event_seconds_count", "(unknown)"): counted["made-up"],
    }
    assert counted == {"echo": 2 * CLIENTS * ROUNDS, "nil": CLIENTS * ROUNDS, "made-up": CLIENTS * ROUNDS}

    async def probe() -> Samples:
        return await asyncio.to_thread(scrape, server)

    samples = await eventually(probe, lambda samples: expected.items() <= samples.items())
    assert not any("made-up" in label for labels in samples for label in labels)
    assert 0 < samples["etp_event_seconds_sum", "echo"] < 600
    await asyncio.gather(*(peer.close(1000 if number % 2 else 3999) for number, peer in enumerate(peers)))
    ended = {
        ("etp_connections",): 0,
        ("etp_disconnects_total", "1000"): CLIENTS / 2,
        ("etp_disconnects_total", "(other)"): CLIENTS / 2,
    }
    await eventually(probe, lambda samples: ended.items() <= samples.items())


def test_losses_sends_and_slow_clients_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    for signal in (connected, disconnected, event_handled, messages_lost, room_sent, slow_client_closed):
        monkeypatch.setattr(signal, "receivers", [])
    connect_receivers()

    class Connection:
        namespace = "counted"

    notify(room_sent, namespace="counted", rooms=("a",), event="news")
    notify(messages_lost, error=MessagesLost("", messages=2, frames=7, namespace="counted"))
    notify(slow_client_closed, connection=Connection())

    def value(metric: Any) -> float:
        counted: float = metric.labels("counted")._value.get()
        return counted

    assert value(metrics.ROOM_SENDS) == 1
    assert (value(metrics.MESSAGES_LOST), value(metrics.EVENTS_LOST)) == (2, 7)
    assert value(metrics.SLOW_CLIENTS) == 1
