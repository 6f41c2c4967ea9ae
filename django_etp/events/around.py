"""Run the functions around one event, with its handler inside of them.

Rules kept here:

- The functions get what the handler returned, before it becomes text; of a streamed answer the async generator.
- What they return becomes text as the handler's own result would: in a thread, and in the language that is active
  there, if the handler is a plain function; and by the type that it declares. A value of another class becomes JSON.
- A streamed answer that they do not return is closed.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

from django.utils import translation

from django_etp.concurrency.workers import run_handler
from django_etp.connections.connection import Connection
from django_etp.protocol.frames import Event
from django_etp.schemas.schema import Writer
from django_etp.serialization import to_text

from .handlers import Handler, call
from .middleware import surrounded
from .streams import Stream

__all__ = ["Around"]


class Around:
    """Runs the functions around one event.

    Attributes:
        has_run: whether it has begun to.
    """

    __slots__ = ("_class", "_is_plain", "_language", "_stream", "_writer", "has_run")

    def __init__(self) -> None:
        self.has_run = False
        self._is_plain = False
        self._language: str | None = None  # which a plain handler may have activated
        self._stream: Stream | None = None
        self._writer: Writer | None = None
        self._class: type | None = None  # of the handler's result

    async def run(
        self, connection: Connection, event: Event, handle: Callable[[Connection, Event], Awaitable[Any]]
    ) -> Any:
        """Call ``handle`` inside of all functions, and return what they return; an async generator as a stream."""
        self.has_run = True

        async def run_inside(connection: Connection, event: Event) -> Any:
            result = await handle(connection, event)
            if type(result) is not Stream:
                return result
            self._stream = result
            return result.generator

        result = None
        try:
            result = await surrounded(run_inside)(connection, event)
        finally:
            if self._stream is not None and not isinstance(result, AsyncGenerator):
                await self._stream.close()
        if not isinstance(result, AsyncGenerator):
            return result
        is_unchanged = self._stream is not None and result is self._stream.generator
        return self._stream if is_unchanged else Stream(result, None, self._stream)

    async def call(self, handler: Handler, connection: Connection, event: Event) -> Any:
        """Call a handler, unless the event is over its rate, and return the result, which is not text yet."""
        if handler.limit is not None:
            await handler.limit.check(connection, event)
        function, writer = handler.unwritten or (handler.function, None)
        if handler.is_async:  # called as the dispatcher does, so that events keep their order
            result = await function(connection, event)
        else:
            result = await call(Handler(function, False), self.run_in_thread, connection, event)
        self._writer, self._class = writer, type(result)
        return result

    async def run_in_thread(self, function: Callable[..., Any], connection: Connection, *args: Any) -> Any:
        """Run a plain function in a thread, and return its result, which is not text yet."""
        result, self._language = await run_handler(_with_language, function, connection, *args, owner=connection.id)
        self._is_plain = True
        return result

    async def text_of(
        self,
        result: object,
        connection: Connection,
        make_text: Callable[[Any], Any] = to_text,
        *,
        uses_database: bool = False,
    ) -> Any:
        """Return the text of what run() has returned; ``make_text`` makes it, unless the handler declares a type."""
        writer = self._writer if type(result) is self._class else None
        if writer is not None:
            make_text = writer.write
        elif result is None or type(result) is str:
            return make_text(result)
        if self._is_plain:
            return await run_handler(_in_language, self._language, make_text, result, owner=connection.id)
        if uses_database or (writer is not None and writer.uses_database):
            return await run_handler(make_text, result, owner=connection.id)
        return make_text(result)


def _with_language(function: Callable[..., Any], *args: Any) -> tuple[Any, str | None]:
    return function(*args), translation.get_language()


def _in_language(language: str | None, make_text: Callable[[Any], Any], result: object) -> Any:
    with translation.override(language):
        return make_text(result)
