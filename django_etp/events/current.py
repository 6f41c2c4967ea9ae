"""The event that the running handler handles, its room, and the name of the handler."""

from contextvars import ContextVar
from typing import Any

from django_etp.exceptions import EtpError
from django_etp.protocol.frames import Event
from django_etp.protocol.past import HISTORY
from django_etp.protocol.rooms import JOIN, LEAVE

__all__ = ["current_event", "current_room", "handler_name", "name_of", "running_event", "running_names"]

# Holds the event and the handlers of its namespace, in the context of its task; and behind them, if the event is about
# a declared room, the room's name and its DeclaredRoom (None if the connection is not in it). A list takes less time to
# make than an object. It is emptied once the event was handled: timers and tasks keep copies of the context for longer,
# and would keep the data of the event.
running_event: ContextVar[list[Any] | None] = ContextVar("django_etp_running_event", default=None)


def current_event() -> Event:
    """Return the event that the running handler handles, as it came: its name, its ack id and its data as text.

    Raises:
        EtpError: no handler runs here, or it has ended.
    """
    event: Event = _running("current_event")[0]
    return event


def current_room() -> str | None:
    """Return the name of the declared room that the running event is about; ``None`` if it is about none.

    A client may name any room: the name of a refused event is the client's own text.

    Raises:
        EtpError: no handler runs here, or it has ended.
    """
    room: str | None = [*_running("current_room"), None][2]
    return room


def handler_name() -> str | None:
    """Return the name of the handler of the running event, for labels and logs; clients cannot make up such names.

    It is the event's name, such as ``"cancel"``. In a declared room the room's pattern stands before it, as in
    ``"orders/<int:pk> cancel"``, also for ``__join`` and ``__leave``. It is ``None`` if the event has no handler.

    Raises:
        EtpError: no handler runs here, or it has ended.
    """
    return name_of(_running("handler_name"))


def name_of(running: list[Any]) -> str | None:
    """Return what handler_name() returns, for the value of ``running_event``."""
    name: str = running[0].name
    match running:
        case [_, handlers]:
            return name if name in handlers.events else None
        case [_, handlers, room, kind]:
            if kind is None:
                kind, _ = handlers.find_room(room) or (None, {})
            if kind is not None and (name in kind.events or name in (JOIN, LEAVE, HISTORY)):
                return f"{kind.pattern.text} {name}"
    return None


def running_names() -> tuple[str | None, str | None]:
    """Return the name of the running event, and its room if it is about one; ``None`` if no handler runs here."""
    match running_event.get():
        case [event, _, room, _]:
            return event.name[:80], room[:80]
        case [event, _]:
            return event.name[:80], None
    return None, None


def _running(function: str) -> list[Any]:
    if running := running_event.get():
        return running
    raise EtpError(f"{function}() is for handlers and for what they call; no handler runs here, or it has ended.")
