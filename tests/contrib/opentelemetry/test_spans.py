"""The spans of handshakes and events."""

from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from django_etp import Connection, Event, EventFailed, RejectConnection, etp_event, on_connect
from tests.support.inprocess import Wire, until

pytestmark = pytest.mark.usefixtures("etp_registry")

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def by_name(recorded: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in recorded.get_finished_spans()}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_an_event_is_a_trace_of_its_own_linked_to_the_handshake(recorded: InMemorySpanExporter) -> None:
    kept: list[Any] = []

    @on_connect
    async def enter(connection: Connection) -> None:
        kept.append(connection.id)

    @etp_event("say")
    def say(connection: Connection, event: Event) -> str:
        kept.append(trace.get_current_span().get_span_context())  # in a thread
        return "x"

    async with Wire() as wire:
        for name in ("say", "made-up"):
            wire.put(f"{name}||1")
            await wire.text()
    spans = by_name(recorded)
    handshake, event = spans["connect default"], spans["event say"]
    assert event.parent is None
    assert event.context.trace_id != handshake.context.trace_id
    assert [link.context for link in event.links] == [handshake.context]
    assert kept[1] == event.context
    assert attributes(event) == {"etp.connection": kept[0], "etp.namespace": "default", "etp.event": "say"}
    assert "event (unknown)" in spans
    assert not any("made-up" in name for name in spans)


async def test_a_handshake_goes_on_with_the_trace_of_its_request(recorded: InMemorySpanExporter) -> None:
    header = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    async with Wire(headers=[(b"host", b"testserver"), header]):
        pass
    [handshake] = recorded.get_finished_spans()
    assert handshake.parent is not None
    assert (f"{handshake.context.trace_id:032x}", f"{handshake.parent.span_id:016x}") == (TRACE, SPAN)


async def test_outcomes_are_on_the_spans_and_bugs_are_errors(recorded: InMemorySpanExporter) -> None:
    @etp_event("broken")
    async def broken(connection: Connection, event: Event) -> None:
        raise ValueError("a bug")

    @etp_event("refused")
    async def refused(connection: Connection, event: Event) -> None:
        raise EventFailed("sold_out")

    async with Wire() as wire:
        wire.put("broken||1")
        wire.put("refused||2")
        await until(lambda: len(recorded.get_finished_spans()) == 3)
    spans = by_name(recorded)
    assert spans["event broken"].status.status_code is StatusCode.ERROR
    assert [event.name for event in spans["event broken"].events] == ["exception"]
    assert attributes(spans["event broken"])["etp.outcome"] == "handler_error"
    assert spans["event refused"].status.status_code is StatusCode.UNSET
    assert attributes(spans["event refused"])["etp.outcome"] == "sold_out"


async def test_a_handshake_that_is_rejected_is_no_error(recorded: InMemorySpanExporter) -> None:
    @on_connect
    async def reject(connection: Connection) -> None:
        raise RejectConnection("full")

    wire = Wire().start()
    await wire.next()
    await wire.leave()
    [handshake] = recorded.get_finished_spans()
    assert attributes(handshake)["etp.outcome"] == "rejected"
    assert handshake.status.status_code is StatusCode.UNSET
