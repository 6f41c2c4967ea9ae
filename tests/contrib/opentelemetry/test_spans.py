"""The spans of handshakes and events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from django_etp import Connection, Event, EventFailed, RejectConnection, etp_event, etp_room, on_connect
from django_etp.contrib.opentelemetry.spans import trace_event
from tests.support.declared import guest
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


async def test_events_of_declared_rooms_are_named_by_the_pattern(recorded: InMemorySpanExporter) -> None:
    @etp_room("orders/<int:pk>")
    async def order_room(connection: Connection, pk: int) -> None: ...

    @order_room.event("say")
    async def say(connection: Connection, event: Event, pk: int) -> None: ...

    async with guest() as client:
        await client.join("orders/5")
        await client.send_frame("__in orders/5 say||1")
        await client.send_frame("__in orders/6 say||2")
        await client.send_frame("__in made-up say||3")
        for _ in range(3):
            await client.receive_frame()
    names = [span.name for span in recorded.get_finished_spans() if span.name.startswith("event")]
    room = "event orders/<int:pk>"
    assert sorted(names) == ["event (unknown)", f"{room} __join", f"{room} say", f"{room} say"]


async def test_the_span_of_a_streamed_answer_lasts_until_its_end(recorded: InMemorySpanExporter) -> None:
    inside: list[Any] = []
    go_on = asyncio.Event()

    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> AsyncIterator[str]:
        yield "one"
        await go_on.wait()
        inside.append(trace.get_current_span().get_span_context())
        yield "two"
        raise ValueError("a bug")

    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put("ask||1")
        assert await wire.text() == "__part_ask||1||one"
        assert "event ask" not in by_name(recorded)
        go_on.set()
        await until(lambda: "event ask" in by_name(recorded))
    span = by_name(recorded)["event ask"]
    assert inside == [span.context]
    assert attributes(span)["etp.outcome"] == "handler_error"
    assert span.status.status_code is StatusCode.ERROR


async def test_a_stream_that_its_client_stops_has_the_outcome_cancelled(recorded: InMemorySpanExporter) -> None:
    @etp_event("ask")
    async def ask(connection: Connection, event: Event) -> AsyncIterator[str]:
        yield "one"
        await asyncio.Event().wait()

    async with Wire(subprotocols=["etp.ext.v2"]) as wire:
        await wire.text()
        wire.put("ask||1")
        await wire.text()
        wire.put("__stop_ask||1")
        await until(lambda: "event ask" in by_name(recorded))
    assert attributes(by_name(recorded)["event ask"])["etp.outcome"] == "cancelled"


async def test_a_stream_that_never_begins_has_an_end(recorded: InMemorySpanExporter) -> None:
    async def values() -> AsyncIterator[str]:
        yield "one"

    async def handle(connection: Any, event: Any) -> Any:
        return values()

    kept: list[Any] = []

    async def drop(connection: Connection, event: Event) -> None:
        kept.append(await trace_event(connection, event, handle))
        kept.clear()

    etp_event("ask")(drop)
    async with Wire() as wire:
        wire.put("ask||1")
        await wire.text()
    assert [span.name for span in recorded.get_finished_spans()].count("event ask") == 2
