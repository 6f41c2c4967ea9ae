"""One trace from a view through a Celery task and the broker to the delivery in another process."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.site.settings import INSTALLED_APPS
from tests.support.audience import listener
from tests.support.peers import eventually
from tests.support.servers import Server, start_process, start_server
from tests.support.valkey import start_valkey

Spans = list[dict[str, Any]]

WAY = [
    "GET enqueue/<str:room>/",
    "apply_async/tests.site.celery_app.announce",
    "run/tests.site.celery_app.announce",
    "send news",
    "deliver news",
]


@pytest.fixture
def spans_file(tmp_path: Path) -> Path:
    return tmp_path / "spans"


@pytest.fixture
def server(spans_file: Path) -> Iterator[Server]:
    """A server, with a Celery worker beside it."""
    with start_valkey() as valkey:
        settings = {
            "CHANNEL_LAYERS": valkey.layers("pubsub"),
            "INSTALLED_APPS": [*INSTALLED_APPS, "django_etp.contrib.opentelemetry", "tests.site.tracing"],
        }
        process: dict[str, Any] = {"settings": settings, "env": {"SPANS": str(spans_file)}}
        worker = ["celery", "-A", "tests.site.celery_app", "worker", "--pool=solo", "-l", "INFO"]
        with (
            start_process("celery", worker, ready=r"celery@\S+ ready", **process),
            start_server("uvicorn", **process) as server,
        ):
            yield server
            server.stop()
            assert server.complaints == []


async def test_a_view_a_task_a_send_and_a_delivery_are_one_trace(server: Server, spans_file: Path) -> None:
    async with listener(server, "room") as member:
        assert await asyncio.to_thread(server.get, "/enqueue/room/") == "enqueued"
        await member.hear(("news", ""))

        async def probe() -> Spans:
            text = await asyncio.to_thread(spans_file.read_text)
            return [json.loads(line) for line in text.splitlines()]

        spans = await eventually(probe, lambda spans: set(WAY) <= {span["name"] for span in spans})
    [delivery] = [span for span in spans if span["name"] == "deliver news"]
    by_id = {span["context"]["span_id"]: span for span in spans}
    way = [delivery]
    while (parent := way[-1]["parent_id"]) is not None:
        way.append(by_id[parent])
    assert [span["name"] for span in reversed(way)] == WAY
    processes = [span["process"] for span in reversed(way)]
    assert processes[0] == processes[1] == processes[4] == server.process.pid
    assert processes[2] == processes[3] != processes[0]
    assert {span["context"]["trace_id"] for span in way} == {delivery["context"]["trace_id"]}
    [handshake] = [span for span in spans if span["name"] == "connect cluster"]
    assert [link["context"] for link in delivery["links"]] == [handshake["context"]]
    assert delivery["attributes"]["etp.members"] == 1
