"""The event that the running handler handles."""

from contextvars import ContextVar

from django_etp.exceptions import EtpError
from django_etp.protocol.frames import Event

__all__ = ["current_event", "running_event"]

# Holds the event, in the context of its task. The list is emptied once the event was handled: timers and tasks keep
# copies of the context for longer, and would keep the data of the event.
running_event: ContextVar[list[Event] | None] = ContextVar("django_etp_running_event", default=None)


def current_event() -> Event:
    """Return the event that the running handler handles, as it came: its name, its ack id and its data as text.

    Raises:
        EtpError: no handler runs here, or it has ended.
    """
    if running := running_event.get():
        return running[0]
    raise EtpError("current_event() is for handlers and for what they call; no handler runs here, or it has ended.")
