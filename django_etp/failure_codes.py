"""Which errors of a handler have a code of the extensions, for server and client alike; it knows no Django."""

from .exceptions import EventFailed, InvalidPayload, TooManyEvents

__all__ = ["handler_failed", "named_failure"]


def named_failure(error: BaseException, *, is_payload_of_event: bool = True) -> EventFailed | None:
    """Return the failure that names an error, or ``None`` for one that is nobody's business.

    ``is_payload_of_event`` says that an ``InvalidPayload`` is about the event's data, rather than about the answer.
    """
    match error:
        case EventFailed():
            return error
        case InvalidPayload() if is_payload_of_event:
            return EventFailed("invalid_payload", str(error))
        case TooManyEvents():
            return EventFailed("too_many_events", "Too many events wait to be handled; the connection is closed.")
    return None


def handler_failed(message: str = "The handler failed.") -> EventFailed:
    """Return the failure of any other error, whose text does not go out."""
    return EventFailed("handler_error", message)
