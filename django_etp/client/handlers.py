"""The event handlers and hooks that an application registers with an ``EtpClient``, and how they are called."""

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django_etp.cancellation import must_pass
from django_etp.exceptions import EtpError, EventFailed, InvalidFrame, MessageTooLarge, TooManyEvents
from django_etp.protocol.frames import Event, check_event_name
from django_etp.quoting import line_of, quote_traceback

__all__ = ["ClientHandlers", "call", "is_end"]

logger = logging.getLogger(__name__)
logger.addFilter(quote_traceback)

Function = TypeVar("Function", bound=Callable[..., Any])

# Errors that the server caused or a handler raised on purpose: logged without a traceback.
_EXPECTED = (EventFailed, InvalidFrame, MessageTooLarge, TooManyEvents)


class ClientHandlers:
    """The handlers of events by name, and the hooks by kind, of one client."""

    def __init__(self) -> None:
        self._handlers: dict[str, Callable[..., Any]] = {}
        self._hooks: dict[str, list[Callable[..., Any]]] = {
            kind: [] for kind in ("connect", "disconnect", "attempt_failed", "error", "unknown_event")
        }

    def add(self, name: str, function: Callable[..., Any]) -> None:
        """Register the handler of an event; see EtpClient.on()."""
        check_event_name(name)
        if name in self._handlers:
            raise EtpError(f"Event {name!r:.80} already has a handler: {self._handlers[name]!r:.200}.")
        self._handlers[name] = function

    def add_hook(self, kind: str, function: Function) -> Function:
        """Register one more hook of a kind."""
        self._hooks[kind].append(function)
        return function

    async def answer(self, event: Event, *, speaks_extensions: bool) -> object:
        """Return the result of the event's handler, or the last result of the fallback hooks that is not ``None``.

        Raises:
            EventFailed: the event has no handler, and the server speaks the extensions.
        """
        if handler := self._handlers.get(event.name):
            return await call(handler, event)
        if not self._hooks["unknown_event"] and speaks_extensions:
            raise EventFailed("unknown_event", f"No handler for the event {event.name[:80]!r}.")
        result = None
        for hook in self._hooks["unknown_event"]:
            answer = await call(hook, event)
            result = result if answer is None else answer
        return result

    async def run_hooks(self, kind: str, *args: Any) -> None:
        """Run all hooks of a kind; report the errors that they raise."""
        await self.run_all(self._hooks[kind], f"on_{kind}", *args)

    async def run_all(self, hooks: Iterable[Callable[..., Any]], kind: str, *args: Any) -> None:
        """Run functions that were registered as hooks of a kind; report the errors that they raise."""
        for hook in tuple(hooks):
            try:
                await call(hook, *args)
            except BaseException as error:
                if is_end(error):
                    raise
                await self.report(error, f"running an {kind} hook")

    async def report(self, error: BaseException, doing: str) -> None:
        """Log an error and pass it to the ``on_error`` hooks; ``doing`` is what the client was doing."""
        is_expected = isinstance(error, _EXPECTED)
        logger.log(
            logging.WARNING if is_expected else logging.ERROR,
            "The client failed while %s: %s: %s",
            doing,
            type(error).__name__,
            line_of(error),
            exc_info=None if is_expected else error,
        )
        for hook in self._hooks["error"]:
            try:
                await call(hook, error)
            except BaseException as failure:
                if is_end(failure):
                    raise
                logger.exception("An on_error hook failed itself.")


def is_end(error: BaseException) -> bool:
    """Return whether an error ends the task or the process, as ``sys.exit()`` does, and is no failure of a handler."""
    return must_pass(error) or isinstance(error, SystemExit)


async def call(function: Callable[..., Any], *args: Any) -> Any:
    """Call a plain or an async function, and return its result."""
    result = function(*args)
    return await result if inspect.isawaitable(result) else result
