"""Which errors of a handler have a code of the extensions, for server and client alike; it knows no Django."""

from .exceptions import EventFailed, InvalidPayload, TooManyEvents

__all__ = ["handler_failed", "named_failure"]


def named_failure(error: BaseException) -> EventFailed | None:
    """Return the failure that names an error, or ``None`` for one that is nobody's business.

    What this side could not send is no fault of the event, nor is what a peer answered to the handler.
    """
    match error:
        case EventFailed(is_from_peer=False):
            return error
        case InvalidPayload(is_outgoing=False, is_answer=False):
            return EventFailed("invalid_payload", str(error))
        case TooManyEvents():
            return EventFailed("too_many_events", "Too many events wait to be handled; the connection is closed.")
    return None


def handler_failed(message: str = "The handler failed.") -> EventFailed:
    """Return the failure of any other error, whose text does not go out."""
    return EventFailed("handler_error", message)
