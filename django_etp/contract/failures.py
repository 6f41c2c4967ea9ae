"""The messages of a contract for failed events and refused joins, with their codes."""

from typing import Any

__all__ = ["EVENT_CODES", "FAILURE", "REFUSAL", "ROOM_CODES"]

EVENT_CODES = {
    "handler_error": "The handler failed.",
    "invalid_payload": "The payload does not fit; `errors` says where.",
    "permission_denied": "The user may not do this, or is not in the room.",
    "rate_limited": "The client sent too many events; `retry_after` says when it may go on.",
    "too_many_events": "Too many events wait to be handled, and the connection is closed.",
    "too_many_rooms": "The connection would be in too many rooms.",
}
ROOM_CODES = {
    "handler_error": "A function of the room failed.",
    "invalid_payload": "The payload names no room.",
    "left": "The client left before the answer.",
    "not_found": "There is no such room.",
    "permission_denied": "The user may not be in the room.",
    "removed": "The application took the client out.",
    "too_many_rooms": "The connection would be in too many rooms.",
}


def _payload(codes: dict[str, str], properties: dict[str, Any]) -> dict[str, Any]:
    known = [{"const": code, "description": description} for code, description in codes.items()]
    others = {"type": "string", "description": "A code of the application."}
    return {
        "type": "object",
        "properties": {"code": {"anyOf": [*known, others]}, "message": {"type": "string"}, **properties},
        "required": ["code", "message"],
    }


_ERROR = {
    "type": "object",
    "properties": {
        "path": {"type": "array", "items": {"type": ["string", "integer"]}},
        "message": {"type": "string"},
        "code": {"type": "string"},
    },
    "required": ["path", "message", "code"],
}
_FACTS = {"errors": {"type": "array", "items": _ERROR}, "details": True, "retry_after": {"type": "number"}}

FAILURE: dict[str, Any] = {
    "name": "__err_",
    "title": "Failure",
    "description": "The event failed: in place of `__ack_<event>` comes `__err_<event>`, to clients with extensions.",
    "contentType": "application/json",
    "payload": _payload(EVENT_CODES, _FACTS),
}
REFUSAL: dict[str, Any] = {
    "name": "__left",
    "title": "Refusal",
    "description": "The client may not be in the room: as `__err___join` in place of an answer, or as `__left`.",
    "contentType": "application/json",
    "payload": _payload(ROOM_CODES, {"room": {"type": "string"}, **_FACTS}),
}
