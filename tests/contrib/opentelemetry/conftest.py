"""Spans in memory, of this process."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_etp.cluster.tracing import set_tracer
from django_etp.contrib.opentelemetry import spans, tracing
from django_etp.contrib.opentelemetry.spans import trace_connect, trace_event
from django_etp.contrib.opentelemetry.tracing import LayerTracer
from django_etp.events.middleware import load_middleware, surround_connects, surround_events, surrounds

__all__ = ["recorded"]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Trace as the app does; yield the exporter, which has the spans that have ended."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("django_etp")
    monkeypatch.setattr(spans, "tracer", tracer)
    monkeypatch.setattr(tracing, "tracer", tracer)
    surround_connects(trace_connect)
    surround_events(trace_event)
    set_tracer(LayerTracer())
    yield exporter
    set_tracer(None)
    surrounds.of_apps.clear()
    surrounds.connects_of_apps.clear()
    load_middleware()
