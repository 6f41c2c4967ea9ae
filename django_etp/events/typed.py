"""Handlers that declare types: they get the data of an event as a value, and their results are written as values.

A handler without such types is left as it is, so that it costs nothing more. An async generator returns a ``Stream``.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Any

from django.conf import settings

from django_etp.concurrency.workers import run_handler
from django_etp.connections.connection import Connection
from django_etp.protocol.frames import Event
from django_etp.schemas import schema
from django_etp.schemas.adapters import reader_for, writer_for
from django_etp.schemas.plain import Text
from django_etp.schemas.schema import Reader, Writer

from .handlers import Handler
from .signatures import declared_result, declared_types
from .streams import Stream

__all__ = ["prepare", "state_writer", "typed_if_ready", "with_types"]

# Whether all event modules are imported. Before that, annotations may name what comes later in them.
_is_ready = False


def typed_if_ready(handler: Handler) -> Handler:
    """Return a handler with_types(), or the same one before prepare()."""
    return with_types(handler) if _is_ready else handler


def prepare(tables: Iterable[dict[str, Handler]]) -> None:
    """Replace the handlers in these tables, by the names of their events, by those with_types(); done once."""
    global _is_ready
    if not _is_ready:
        _is_ready = True
        for handlers in tables:
            handlers.update({name: with_types(handler) for name, handler in handlers.items()})


def with_types(handler: Handler) -> Handler:
    """Return a handler that reads and writes the types that its function declares, or the same one if there are none.

    Raises:
        TypeError: a type cannot be read or written; the text names the function and its place.
    """
    argument, result = declared_types(handler.function)
    try:
        reader, writer = reader_for(argument), writer_for(result)
    except Exception as error:
        raise TypeError(f"{handler.place} declares a type that cannot be used for payloads: {error}") from error
    if reader is None and writer is None and not handler.is_stream:
        return handler
    typed = _stream_function if handler.is_stream else _coroutine_function if handler.is_async else _plain_function
    if typed is _coroutine_function and reader is None and isinstance(writer, Text):
        typed = _text_function
    like = wraps(handler.function)
    return replace(
        handler,
        function=like(typed(handler.function, reader, writer)),
        unwritten=(like(typed(handler.function, reader, None)), writer) if writer and not handler.is_stream else None,
    )


def state_writer(handler: Handler) -> Writer | None:
    """Return what writes the state that a join handler returns, if it declares a type, or ``None`` before prepare().

    Raises:
        TypeError: see with_types().
    """
    if not _is_ready:
        return None
    result = declared_result(handler.function)
    try:
        return writer_for(result)
    except Exception as error:
        raise TypeError(f"{handler.place} declares a state that cannot be sent: {error}") from error


def _coroutine_function(
    function: Callable[..., Any], reader: Reader | None, writer: Writer | None
) -> Callable[..., Awaitable[Any]]:
    # The parameters are those of a declared room.
    async def handle(connection: Connection, event: Event, **parameters: Any) -> Any:
        if reader is None:
            result = await function(connection, event, **parameters)
        elif reader.uses_database:
            message = await run_handler(reader.read, event, owner=connection.id)
            result = await function(connection, message, **parameters)
        else:
            result = await function(connection, reader.read(event), **parameters)
        if writer is None or not event.ack_id:
            return result
        if writer.uses_database:
            return await run_handler(writer.write, result, owner=connection.id)
        return writer.write(result)

    return handle


def _text_function(function: Callable[..., Any], reader: Reader | None, writer: Writer | None) -> Callable[..., Any]:
    """Call the function by itself unless its answer is checked: text is sent as it is."""
    checked = _coroutine_function(function, reader, writer)
    if settings.DEBUG:
        return checked

    # The testing kit may be imported later. A look at the settings for each event would take longer than the check.
    def handle(connection: Connection, event: Event, **parameters: Any) -> Any:
        return (checked if schema.is_under_test else function)(connection, event, **parameters)

    return handle


def _stream_function(
    function: Callable[..., Any], reader: Reader | None, writer: Writer | None
) -> Callable[..., Awaitable[Any]]:
    async def handle(connection: Connection, event: Event, **parameters: Any) -> Stream:
        message: Any = event
        if reader is not None and reader.uses_database:
            message = await run_handler(reader.read, event, owner=connection.id)
        elif reader is not None:
            message = reader.read(event)
        return Stream(function(connection, message, **parameters), writer)

    return handle


def _plain_function(function: Callable[..., Any], reader: Reader | None, writer: Writer | None) -> Callable[..., Any]:
    def handle(connection: Connection, event: Event, **parameters: Any) -> Any:
        result = function(connection, event if reader is None else reader.read(event), **parameters)
        if writer is None or not event.ack_id:
            return result
        return _written(result, writer, connection) if inspect.isawaitable(result) else writer.write(result)

    return handle


async def _written(result: Awaitable[Any], writer: Writer, connection: Connection) -> str:
    """Wait for the result of a plain function that returned a coroutine, on the event loop, and write it."""
    value = await result
    if writer.uses_database:
        return str(await run_handler(writer.write, value, owner=connection.id))
    return writer.write(value)
