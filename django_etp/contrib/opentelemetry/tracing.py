"""Traces of sends to rooms and single connections, and of their deliveries in other processes.

Rules kept here:

- A send is recorded if its caller is in a trace: in a view, a task or a handler that is traced.
- Its trace goes to other processes in the W3C's notation (``traceparent``), beside the frames. Versions of this package
  that do not know it ignore it.
- A delivery has links to the handshakes of its members; to 32 of them, since a room may have thousands.
"""

from collections.abc import Callable, Sequence
from contextvars import Context
from typing import Any

from opentelemetry import context as current
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_etp.cluster.messages import Frame
from django_etp.protocol.frames import decode

from .spans import links_of, tracer

__all__ = ["LayerTracer"]

_MOST_LINKS = 32
_KEY = "traceparent"
_propagator = TraceContextTextMapPropagator()


class LayerTracer:
    """See Tracer."""

    def send(self, frame: Frame) -> str:
        """Record a send, and return the trace that goes with it; ``""`` if the caller is in none."""
        if not trace.get_current_span().get_span_context().is_valid:
            return ""
        with tracer.start_as_current_span(f"send {decode(frame.text).name}", kind=SpanKind.PRODUCER):
            carrier: dict[str, str] = {}
            _propagator.inject(carrier)
            return carrier.get(_KEY, "")

    def deliver(self, trace_text: str, frame: Frame, deliver: Callable[[], Sequence[Any]]) -> None:
        """Call ``deliver`` within a span of the trace; if that is malformed, without one."""
        context = _propagator.extract({_KEY: trace_text})
        if not trace.get_current_span(context).get_span_context().is_valid:
            deliver()
            return
        name = f"deliver {decode(frame.text).name}"
        with tracer.start_as_current_span(name, context=context, kind=SpanKind.CONSUMER) as span:
            members = deliver()
            span.set_attribute("etp.members", len(members))
            for member in members[:_MOST_LINKS]:
                for link in links_of(member.scope):
                    span.add_link(link.context)

    def carry(self, context: Context) -> None:
        """Put the caller's trace into a context."""
        context.run(current.attach, current.get_current())
