"""Handlers and hooks: the functions that applications register, and how they are called.

Rules kept here:

- Hooks of several apps all run, in the order of ``INSTALLED_APPS``; within an app, as they were registered.
- A coroutine function runs on the event loop, a plain one in a thread. If a plain one returns an awaitable, that is
  awaited on the loop.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.apps import apps

from django_etp.concurrency.database import keep_database_fresh
from django_etp.concurrency.workers import exited, run_handler, run_hook
from django_etp.connections.connection import Connection
from django_etp.exceptions import InvalidPayload
from django_etp.protocol.frames import Event
from django_etp.schemas.schema import Writer
from django_etp.serialization import to_text

from .limits import RateLimit
from .signatures import check_takes, is_async_generator, place_of, unwrapped

__all__ = ["Handler", "Hooks", "call", "handler_of", "run_answering", "run_reporting"]


@dataclass(frozen=True, slots=True)
class Handler:
    """A registered function, and how to call it.

    Attributes:
        function: takes the arguments, and returns the result; if it declares a type for that, as text.
        is_async: whether the function is a coroutine function; a plain one runs in a thread.
        is_stream: whether the answer is streamed.
        limit: the rate of its events, if there is one.
        unwritten: the same function, whose result is not text yet, and what makes it text; only with a declared type.
    """

    function: Callable[..., Any]
    is_async: bool
    is_stream: bool = False
    limit: RateLimit | None = None
    unwritten: tuple[Callable[..., Any], Writer] | None = None

    def with_parameters(self, parameters: dict[str, Any]) -> Handler:
        """Return the handler of a declared room, called with the parameters of one room."""
        if not parameters:
            return self
        unwritten = self.unwritten and (partial(self.unwritten[0], **parameters), self.unwritten[1])
        function = partial(self.function, **parameters)
        return Handler(function, self.is_async, self.is_stream, self.limit, unwritten)

    @property
    def place(self) -> str:
        """The function's module, name, file and line, for messages."""
        return place_of(self.function)


class Hooks:
    """The hooks of one kind, in app order."""

    __slots__ = ("_handlers",)

    def __init__(self) -> None:
        self._handlers: list[Handler] = []

    def __iter__(self) -> Iterator[Handler]:
        return iter(self._handlers)

    def __bool__(self) -> bool:
        return bool(self._handlers)

    def __copy__(self) -> Hooks:
        twin = Hooks()
        twin._handlers = list(self._handlers)
        return twin

    def add(self, handler: Handler) -> None:
        """Add a hook behind the others of its app and those of earlier apps."""
        # A new list each time: a loop over the old one goes on with that.
        self._handlers = sorted([*self._handlers, handler], key=_app_position)


def handler_of(function: Callable[..., Any], *arguments: str, can_stream: bool = False) -> Handler:
    """Return the handler of a function that an application registers.

    ``can_stream``: whether it may be an async generator, whose values are a streamed answer.

    Raises:
        TypeError: it is no function, or a generator, or it cannot be called with the arguments.
    """
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"A handler must be a function, got {function!r:.80}.")
    call = getattr(function, "__call__", None)  # noqa: B004 (an instance's method, which may be async)
    is_stream = is_async_generator(function)
    if any(map(inspect.isgeneratorfunction, (function, call))) or (is_stream and not can_stream):
        wanted = "Write it as an async def to stream the answer" if can_stream else "Return a value instead of yielding"
        raise TypeError(f"A handler must not be a generator: {function!r:.80}. {wanted}.")
    if arguments:
        check_takes(function, *arguments)
    return Handler(function, is_stream or iscoroutinefunction(function) or iscoroutinefunction(call), is_stream)


async def call(
    handler: Handler, run_in_thread: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any, **parameters: Any
) -> Any:
    """Call a handler or hook and return its result; ``run_in_thread`` runs a plain function.

    ``parameters`` are those of a declared room. See also with_parameters().
    """
    if handler.is_async:
        await keep_database_fresh()
        try:
            return await handler.function(*args, **parameters)
        except SystemExit as error:
            raise exited(error) from error
    result = await run_in_thread(handler.with_parameters(parameters).function, *args)
    return await result if inspect.isawaitable(result) else result


async def run_answering(function: Callable[..., Any], connection: Connection, event: Event) -> Any:
    """Run a plain handler in a thread and return its answer, as text if it will be sent."""
    return await run_handler(_answer_of, function, connection, event, owner=connection.id)


async def run_reporting(function: Callable[..., Any], connection: Connection | None, *args: Any) -> Any:
    """Run a plain hook in a thread. Hooks without a connection, as for lost messages, share the threads as one."""
    return await run_hook(function, connection, *args, owner="" if connection is None else connection.id)


def _answer_of(function: Callable[..., Any], connection: Connection, event: Event) -> Any:
    """Call a plain handler and return its answer, as text if it will be sent.

    The text is made in the handler's thread and context: the encoder may use the ORM, and a lazy translation depends on
    the language that the handler has activated.
    """
    result = function(connection, event)
    if result is not None and event.ack_id and not inspect.isawaitable(result):
        # Raised again if this becomes the answer: of several on_unknown_event hooks, another's result may.
        with suppress(InvalidPayload):
            return to_text(result)
    return result


def _app_position(handler: Handler) -> int:
    if not apps.apps_ready:
        return 0
    module = getattr(unwrapped(handler.function), "__module__", None)
    app = apps.get_containing_app_config(module) if module else None
    configs = list(apps.get_app_configs())
    return configs.index(app) if app else len(configs)
