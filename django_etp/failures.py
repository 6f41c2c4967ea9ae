"""What a client that speaks the extensions is told of an event that failed."""

from django.conf import settings
from django.core.exceptions import PermissionDenied

from .exceptions import EventFailed, InvalidPayload, TooManyEvents

__all__ = ["failure_of"]


def failure_of(error: BaseException, *, is_payload_of_event: bool = True) -> EventFailed:
    """Return the failure that names an error; no text of an unexpected one goes out unless ``DEBUG`` is on.

    ``is_payload_of_event`` says that an ``InvalidPayload`` is about the event's data, rather than about the answer.
    """
    match error:
        case EventFailed():
            return error
        case InvalidPayload() if is_payload_of_event:
            return EventFailed("invalid_payload", str(error))
        case PermissionDenied():
            return EventFailed("permission_denied", str(error) or "This is not allowed.")
        case TooManyEvents():
            return EventFailed("too_many_events", "Too many events wait to be handled; the connection is closed.")
    detail = f"{type(error).__name__}: {error}" if settings.DEBUG else "The handler failed."
    return EventFailed("handler_error", detail)
