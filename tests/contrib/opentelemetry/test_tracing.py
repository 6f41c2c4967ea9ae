"""The traces of sends and deliveries. test_one_trace.py follows one through real processes."""

from collections.abc import Sequence
from contextvars import copy_context
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from django_etp import Connection, Event, etp_event, rooms
from django_etp.cluster.messages import Frame
from django_etp.contrib.opentelemetry import spans
from django_etp.contrib.opentelemetry.tracing import LayerTracer
from django_etp.hub.process import serving_hub
from django_etp.rooms.background import send_in_background
from tests.support.batches import sends
from tests.support.inprocess import Wire, until
from tests.support.layers import SharedLayer

pytestmark = pytest.mark.usefixtures("etp_registry")

FRAME = Frame("news||0")


class Member:
    def __init__(self, scope: dict[str, Any]) -> None:
        self.scope = scope


def test_a_send_outside_of_a_trace_is_not_recorded(recorded: InMemorySpanExporter) -> None:
    assert LayerTracer().send(FRAME) == ""
    assert recorded.get_finished_spans() == ()


def test_a_delivery_is_the_child_of_the_send_and_has_links_to_few_handshakes(recorded: InMemorySpanExporter) -> None:
    tracer, handshakes = LayerTracer(), []
    for _ in range(40):
        with spans.tracer.start_span("connect") as span:
            handshakes.append(span.get_span_context())
    with spans.tracer.start_as_current_span("view") as view:
        text = tracer.send(FRAME)

    def deliver() -> Sequence[Any]:
        return [Member({"django_etp.opentelemetry": handshake}) for handshake in handshakes] + [Member({})]

    tracer.deliver(text, FRAME, deliver)
    send, delivery = (
        next(span for span in recorded.get_finished_spans() if span.name == name)
        for name in ("send news", "deliver news")
    )
    assert (send.kind, delivery.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert send.parent == view.get_span_context()
    assert delivery.parent is not None
    assert delivery.parent.span_id == send.context.span_id
    assert dict(delivery.attributes or {}) == {"etp.members": 41}
    assert [link.context for link in delivery.links] == handshakes[:32]


@pytest.mark.parametrize("text", ["", "nonsense", "00-0-0-0", f"00-{'0' * 32}-{'0' * 16}-01"])
def test_a_malformed_trace_loses_no_delivery(recorded: InMemorySpanExporter, text: str) -> None:
    delivered: list[Frame] = []
    LayerTracer().deliver(text, FRAME, lambda: delivered.append(FRAME) or ())  # type: ignore[func-returns-value]
    assert delivered == [FRAME]
    assert recorded.get_finished_spans() == ()


def test_a_trace_is_carried_into_a_context(recorded: InMemorySpanExporter) -> None:
    elsewhere = copy_context()
    with spans.tracer.start_as_current_span("view") as view:
        LayerTracer().carry(elsewhere)
    assert elsewhere.run(trace.get_current_span) is view


@pytest.mark.parametrize("how", ["handler", "thread", "batch"])
async def test_what_a_handler_sends_goes_out_with_its_trace(
    recorded: InMemorySpanExporter, settings: Any, how: str
) -> None:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "tests.support.layers.SharedLayer"}}

    @etp_event("handler")
    async def handler(connection: Connection, event: Event) -> None:
        await rooms.aemit("room", "news")

    @etp_event("thread")
    def thread(connection: Connection, event: Event) -> None:
        rooms.emit("room", "news")

    @etp_event("batch")
    def batch(connection: Connection, event: Event) -> None:
        send_in_background(sends(("room", "news||0")))

    SharedLayer.sent.clear()
    async with Wire() as wire:
        wire.put(f"{how}||1")
        await wire.text()
        await until(lambda: any("traces" in message for _, message in SharedLayer.sent))
    hub = serving_hub()
    await hub.stop()
    [message] = [message for _, message in SharedLayer.sent if "traces" in message]
    spans = {span.name: span for span in recorded.get_finished_spans()}
    send, event = spans["send news"], spans[f"event {how}"]
    assert message["traces"]["0"].startswith(f"00-{send.context.trace_id:032x}-{send.context.span_id:016x}-")
    assert send.parent == event.context
