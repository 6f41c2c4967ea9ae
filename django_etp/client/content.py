"""The content of a client's events: values as text, and JSON objects from text.

Rules kept here:

- A str is sent unchanged, ``None`` as an empty payload, and any other value as JSON (RFC 8259).
- What a server sends in another form than expected counts as absent.
"""

import json
from typing import Any

from django_etp.exceptions import InvalidPayload
from django_etp.protocol.frames import Event

__all__ = ["expires_in", "greeted_id", "object_in", "text_of"]


def text_of(value: object) -> str:
    """Return the payload that carries a value.

    Raises:
        InvalidPayload: JSON cannot hold the value.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return str.__str__(value)  # plain str: formatting a member of a str Enum would give its name
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(
            f"A payload must be None, str or what JSON can hold, got {type(value).__name__}: {error}. "
            "Convert it first.",
            is_outgoing=True,
        ) from error


def object_in(event: Event) -> dict[str, Any]:
    """Return the JSON object that an event holds; an empty one if it holds none."""
    try:
        content = event.json()
    except InvalidPayload:
        return {}
    return content if isinstance(content, dict) else {}


def greeted_id(event: Event) -> str | None:
    """Return the id of the connection in a greeting; ``None`` without one."""
    id = object_in(event).get("id")
    return id if isinstance(id, str) else None


def expires_in(event: Event) -> float | None:
    """Return when the login by a token expires, in seconds, of a greeting or a renewal; ``None`` if it does not."""
    seconds = object_in(event).get("expires_in")
    return seconds if isinstance(seconds, int | float) else None
