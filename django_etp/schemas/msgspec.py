"""Types that hold a ``msgspec.Struct``, which msgspec reads and writes."""

import re
from typing import Any

import msgspec

from django_etp.protocol.frames import Event

from .schema import error_at, is_checking, misfit, name_of, unsendable

__all__ = ["MsgspecSchema"]

_encode = msgspec.json.Encoder().encode

# The end of a message, such as " - at `$.lines[0].count`" and " - at `key` in `$.lines`".
_PLACE = re.compile(r" - at (?:`key` in )?`\$(?P<path>.*)`$")
_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>[0-9]+)\]|\[(?P<any>\.\.\.)\]")
# msgspec names the field of an object here, and not in the path.
_FIELDS = {
    "missing": re.compile(r"^Object missing required field `(.*)`$"),
    "unknown": re.compile(r"^Object contains unknown field `(.*)`$"),
}


class MsgspecSchema:
    """A type, by msgspec."""

    uses_database = False

    def __init__(self, annotation: Any) -> None:
        self._decode = msgspec.json.Decoder(annotation).decode
        self._annotation = annotation
        self._name = name_of(annotation)

    def read(self, event: Event) -> Any:
        """See Reader.read(). Absent data is read as ``null``."""
        try:
            return self._decode(event.data or "null")
        except msgspec.DecodeError as error:
            raise misfit(event, [_error_of(error)]) from error

    def write(self, value: Any) -> str:
        """See Writer.write()."""
        try:
            text = _encode(value).decode()
            if is_checking():
                self._decode(text)
        except msgspec.DecodeError as error:
            raise unsendable(value, self._name, [_error_of(error)]) from error
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise unsendable(value, self._name, str(error)) from error
        return "" if value is None else text

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema()."""
        from .msgspec_fields import schema_of  # which etp_schema alone needs

        return schema_of(self._annotation, is_sent=is_sent)


def _error_of(error: msgspec.DecodeError) -> dict[str, Any]:
    """Return an error of msgspec, which reports the first one only, with its path."""
    message, path, code = str(error), [], "json_invalid"
    if isinstance(error, msgspec.ValidationError):
        code = "invalid"
        if place := _PLACE.search(message):
            message = message[: place.start()]
            path = [
                int(step["index"]) if step["index"] else step["key"] or step["any"]
                for step in _STEP.finditer(place["path"])
            ]
        for each, pattern in _FIELDS.items():
            if field := pattern.match(message):
                path.append(field[1])
                code = each
    return error_at(path, message, code)
