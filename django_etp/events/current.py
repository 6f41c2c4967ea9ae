"""The event that the running handler handles."""

from contextvars import ContextVar

from django_etp.exceptions import EtpError
from django_etp.protocol.frames import Event

__all__ = ["current_event", "running_event"]

# Set for each event, in the context of its task.
running_event: ContextVar[Event] = ContextVar("django_etp_running_event")


def current_event() -> Event:
    """Return the event that the running handler handles, as it came: its name, its ack id and its data as text.

    Raises:
        EtpError: no handler runs here.
    """
    try:
        return running_event.get()
    except LookupError:
        raise EtpError("current_event() is for handlers and for what they call; no handler runs here.") from None
