"""Spans of handshakes and of events.

Rules kept here:

- The span of a handshake continues the trace of its request: that of the server's instrumentation, or of its headers.
- The span of an event begins a trace of its own and has a link to the handshake, since a connection lives for hours.
- Clients choose no name of a span. Refusals are outcomes; only a handler that failed has the status of an error.
"""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, StatusCode

from django_etp.connections.connection import Connection
from django_etp.events.current import handler_name
from django_etp.events.errors import failure_of
from django_etp.exceptions import RejectConnection
from django_etp.protocol.frames import Event

__all__ = ["links_of", "trace_connect", "trace_event", "tracer"]

tracer = trace.get_tracer("django_etp")

# The span context of the handshake, in its scope.
_HANDSHAKE = "django_etp.opentelemetry"


async def trace_connect(connection: Connection, handle: Callable[[Connection], Awaitable[Any]]) -> None:
    """Record the span of a handshake, around the ``on_connect`` hooks."""
    with tracer.start_as_current_span(
        f"connect {connection.namespace}",
        context=_parent_of(connection.scope),
        kind=SpanKind.SERVER,
        attributes=_attributes(connection),
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        connection.scope[_HANDSHAKE] = span.get_span_context()
        try:
            await handle(connection)
        except BaseException as error:
            _record_error(span, error)
            raise


async def trace_event(
    connection: Connection, event: Event, handle: Callable[[Connection, Event], Awaitable[Any]]
) -> Any:
    """Record the span of an event, around its handler and the project's middleware."""
    name = handler_name() or "(unknown)"
    span = tracer.start_span(
        f"event {name}",
        context=Context(),
        kind=SpanKind.SERVER,
        links=links_of(connection.scope),
        attributes={**_attributes(connection), "etp.event": name},
    )
    result = None
    try:
        with _current(span):
            result = await handle(connection, event)
    finally:
        if not isinstance(result, AsyncGenerator):
            span.end()
    if not isinstance(result, AsyncGenerator):
        return result
    stream = _trace_stream(span, result)
    weakref.finalize(stream, _end, span).atexit = False  # a generator that never begins has no end
    return stream


async def _trace_stream(span: trace.Span, values: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    """Yield the values of a streamed answer, with the span of its event as the current one."""
    try:
        with _current(span):
            async for value in values:
                yield value
    finally:
        span.end()


@contextmanager
def _current(span: trace.Span) -> Iterator[None]:
    """Make a span the current one, and record an exception of the block on it."""
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            _record_error(span, error)
            raise


def _end(span: trace.Span) -> None:
    if span.is_recording():
        span.end()


def links_of(scope: dict[str, Any]) -> list[Link]:
    """Return a link to the handshake of a connection; none if it was not traced."""
    handshake = scope.get(_HANDSHAKE)
    return [] if handshake is None else [Link(handshake)]


def _parent_of(scope: dict[str, Any]) -> Context | None:
    if trace.get_current_span().get_span_context().is_valid:
        return None  # the current one
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope.get("headers", ())}
    return propagate.extract(headers)


def _attributes(connection: Connection) -> dict[str, str]:
    attributes = {"etp.connection": connection.id, "etp.namespace": connection.namespace}
    if connection.user_id is not None:
        attributes["enduser.id"] = str(connection.user_id)
    return attributes


def _record_error(span: trace.Span, error: BaseException) -> None:
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        outcome = "cancelled"
    else:
        outcome = "rejected" if isinstance(error, RejectConnection) else failure_of(error).code
    span.set_attribute("etp.outcome", outcome)
    if outcome == "handler_error":
        span.record_exception(error)
        span.set_status(StatusCode.ERROR, type(error).__name__)
