"""Convert the values that handlers return and callers pass to the text on the wire.

``None`` is no data, a str is sent unchanged, anything else is sent as JSON.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, Protocol, cast, runtime_checkable

from django.utils.functional import Promise
from django.utils.module_loading import import_string

from .conf import get_settings
from .exceptions import InvalidPayload
from .protocol.frames import Event, check_event_name, encode

__all__ = ["TypedEvent", "to_frame", "to_parts", "to_text"]


@runtime_checkable
class TypedEvent(Protocol):
    """An event with the type of its payload; see ``schemas/outgoing.py``."""

    name: str

    def text_of(self, data: Any) -> str:
        """Return the wire text of a payload."""


def to_text(value: object) -> str:
    """Return the wire text of a value: ``None`` → ``""``, str → itself, anything else → compact JSON.

    The setting ``JSON_ENCODER`` names the encoder.

    Raises:
        InvalidPayload: the value cannot become JSON. ``NaN`` and ``Infinity`` cannot.
    """
    if type(value) is str:
        return value
    if value is None:
        return ""
    if issubclass(type(value), str):
        return str.__str__(value)  # plain str: formatting a member of a str Enum would give its name
    if isinstance(value, str | Promise):  # lazy text: a wrapped str passes for a str
        return str(value)
    try:
        return _encoder(cast(Any, get_settings().json_encoder))(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidPayload(
            f"A payload must be None, str or what JSON can hold, got {type(value).__name__}: {error}. "
            "Convert it, or set ETP['JSON_ENCODER'].",
            is_outgoing=True,
        ) from error


def to_frame(event: "str | TypedEvent", data: object = None, ack_id: int = 0) -> str:
    """Return the frame of an event that an application sends, by its name or with the type of its payload.

    Raises:
        InvalidEventName: an event cannot have this name; names that start with ``__`` are reserved.
        InvalidPayload: the data cannot become wire text.
    """
    name, text = to_parts(event, data)
    return encode(Event(name, ack_id, text))


def to_parts(event: "str | TypedEvent", data: object = None) -> tuple[str, str]:
    """Return the name of an event that an application sends, and the wire text of its data. See to_frame()."""
    if type(event) is not str and isinstance(event, TypedEvent):
        return event.name, event.text_of(data)
    check_event_name(event)
    return event, to_text(data)


@lru_cache(maxsize=8)
def _encoder(encoder: Any) -> Callable[[object], str]:
    encoder_class = import_string(encoder) if isinstance(encoder, str) else encoder
    encode_json: Callable[[object], str] = encoder_class(
        ensure_ascii=False, allow_nan=False, separators=(",", ":")
    ).encode
    return encode_json
