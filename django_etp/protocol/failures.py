"""Why an event failed: the codes of the extensions, and the ``__err_`` frames that carry them."""

import json

from django_etp.exceptions import EventFailed, InvalidPayload, TooManyEvents

from .frames import FAILURE_PREFIX, Event

__all__ = ["encode_failure", "handler_failed", "named_failure", "read_failure"]


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


def encode_failure(event: Event, failure: EventFailed) -> str:
    """Return the frame that says why ``event`` has no answer; only for a peer that speaks the extensions."""
    # ASCII: what a message quotes need not be valid Unicode.
    data = json.dumps({"code": _bare(failure.code), "message": _bare(failure.message)}, separators=(",", ":"))
    return f"{FAILURE_PREFIX}{event.name}||{event.ack_id}||{data}"


def read_failure(event: Event) -> EventFailed:
    """Return what a failure frame says; one that says nothing understandable has the code ``handler_error``."""
    try:
        content = event.json()
    except InvalidPayload:
        content = None
    if not isinstance(content, dict):
        content = {}
    code, message = content.get("code", "handler_error"), content.get("message", "")
    return EventFailed(_encodable(code), _encodable(message), is_from_peer=True)


def _encodable(value: object) -> str:
    # JSON can hold lone surrogates, which no message to another process could carry.
    return str(value).encode(errors="replace").decode()


def _bare(value: object) -> str:
    # str() of a member of a str Enum is its name. What is no text, such as a lazy translation, becomes it.
    return str.__str__(value) if isinstance(value, str) else str(value)
