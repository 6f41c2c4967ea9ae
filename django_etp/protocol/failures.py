"""Why an event failed: the codes of the extensions, and the ``__err_`` frames that carry them."""

import json
from typing import Any

from django_etp.exceptions import EventFailed, HistoryUnavailable, InvalidPayload, TooManyEvents, TooManyRooms

from .frames import FAILURE_PREFIX, Event

__all__ = [
    "encode_failure",
    "facts_of",
    "failure_from_peer",
    "handler_failed",
    "named_failure",
    "read_failure",
]


# When a client should try again that needs the history of a room, in seconds.
_HISTORY_RETRY_AFTER = 1.0


def named_failure(error: BaseException) -> EventFailed | None:
    """Return the failure to send for an error, or ``None`` if the peer must not learn about the error.

    If this side could not send something, or a peer answered the handler with invalid data, the event is not at fault.
    """
    match error:
        case EventFailed(is_from_peer=False):
            return error
        case InvalidPayload(is_outgoing=False, is_answer=False):
            return EventFailed("invalid_payload", str(error), errors=error.errors)
        case TooManyEvents():
            return EventFailed("too_many_events", "Too many events wait to be handled; the connection is closed.")
        case TooManyRooms():
            return EventFailed("too_many_rooms", "The connection would be in too many rooms.")
        case HistoryUnavailable():
            message = "The history of the room cannot be reached now."
            return EventFailed("handler_error", message, retry_after=_HISTORY_RETRY_AFTER)
    return None


def handler_failed(message: str = "The handler failed.") -> EventFailed:
    """Return the failure to send for any other error, without the text of that error."""
    return EventFailed("handler_error", message)


def encode_failure(event: Event, failure: EventFailed) -> str:
    """Return the frame of a failure in place of the answer to ``event``; for a peer that speaks the extensions."""
    content = {"code": _bare(failure.code), "message": _bare(failure.message), **facts_of(failure)}
    # In ASCII, since a message may quote text that is not valid Unicode.
    data = json.dumps(content, separators=(",", ":"))
    return f"{FAILURE_PREFIX}{event.name}||{event.ack_id}||{data}"


def read_failure(event: Event) -> EventFailed:
    """Return the failure that a frame holds; if it has no code, the code is ``handler_error``."""
    try:
        content = event.json()
    except InvalidPayload:
        content = None
    if not isinstance(content, dict):
        content = {}
    code, message = content.get("code", "handler_error"), content.get("message", "")
    return failure_from_peer(code, message, content)


def failure_from_peer(code: object, message: object, facts: dict[str, Any]) -> EventFailed:
    """Return the failure that a peer has sent; of its other facts, those that are of the right type."""
    errors, retry_after = facts.get("errors"), facts.get("retry_after")
    return EventFailed(
        _encodable(code),
        _encodable(message),
        details=facts.get("details"),
        errors=[each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else (),
        retry_after=retry_after if isinstance(retry_after, int | float) else None,
        is_from_peer=True,
    )


def facts_of(failure: EventFailed) -> dict[str, Any]:
    """Return the other facts of a failure beside its code and its message, by their names on the wire."""
    facts = {"errors": failure.errors or None, "details": failure.details, "retry_after": failure.retry_after}
    return {name: value for name, value in facts.items() if value is not None}


def _encodable(value: object) -> str:
    # JSON can hold lone surrogates, which messages to other processes cannot.
    return str(value).encode(errors="replace").decode()


def _bare(value: object) -> str:
    # str() of a member of a str Enum would be its name. Other values, such as lazy translations, become text.
    return str.__str__(value) if isinstance(value, str) else str(value)
