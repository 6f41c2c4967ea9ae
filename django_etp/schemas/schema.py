"""The common parts of the adapters of the libraries, which read the data of events and write values to send.

Rules kept here:

- The text of an event is parsed once, by the library of its type.
- A value that is sent is checked in ``DEBUG`` and under the testing kit only.
- An ``InvalidPayload`` lists at most 100 errors, with short paths and messages, however large the data is.
"""

from collections.abc import Iterable
from typing import Any, Protocol, get_args

from django.conf import settings

from django_etp.exceptions import InvalidPayload
from django_etp.protocol.frames import Event
from django_etp.quoting import one_line

__all__ = [
    "MAX_ERRORS",
    "Reader",
    "Writer",
    "error_at",
    "is_checking",
    "json_of",
    "misfit",
    "name_of",
    "or_null",
    "unsendable",
]

MAX_ERRORS = 100

# In characters, of a key in a path and of a message.
_MAX_KEY = 100
_MAX_MESSAGE = 500
# How many errors the text of an InvalidPayload names.
_NAMED = 3

# Whether this process runs tests. The testing kit sets it.
is_under_test = False


class Reader(Protocol):
    """A type of what an event brings.

    Attributes:
        uses_database: whether read() may use the ORM, so that it must not run on an event loop.
    """

    uses_database: bool

    def read(self, event: Event) -> Any:
        """Return the data of an event as a value of the type; absent data is ``None`` in JSON.

        Raises:
            InvalidPayload: the data does not fit.
        """

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """Return the JSON schema of what is read, or of what is sent, with the types that it names in ``$defs``.

        Raises:
            Exception: the type has none; the text has the reason.
        """


class Writer(Protocol):
    """A type of what is sent.

    Attributes:
        uses_database: whether write() may use the ORM, so that it must not run on an event loop.
    """

    uses_database: bool

    def write(self, value: Any) -> str:
        """Return the wire text of a value; no text for ``None``.

        Raises:
            InvalidPayload: the value cannot be sent, or it does not fit and is_checking().
        """

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema()."""


def is_checking() -> bool:
    """Return whether values that are sent must fit their types: in ``DEBUG`` and under the testing kit."""
    return is_under_test or settings.DEBUG


def error_at(path: Iterable[object], message: object, code: object) -> dict[str, Any]:
    """Return one of the errors of an ``InvalidPayload``."""
    keys = [key if isinstance(key, int) else str(key)[:_MAX_KEY] for key in path]
    return {"path": keys, "message": str(message)[:_MAX_MESSAGE], "code": str(code)}


def misfit(event: Event, errors: list[dict[str, Any]]) -> InvalidPayload:
    """Return the error for data of an event that does not fit its type. The client gets its text."""
    return InvalidPayload(f"The data of event {event.name[:60]!r} does not fit: {_summary(errors)}", errors=errors)


def or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the JSON schema of a type that may be ``None`` as well."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def json_of(event: Event) -> Any:
    """Return the data of an event as JSON; ``None`` if it has none.

    Raises:
        InvalidPayload: it is not JSON.
    """
    try:
        return event.json() if event.data else None
    except InvalidPayload as error:
        raise misfit(event, [error_at((), "This is not JSON.", "json_invalid")]) from error


def unsendable(value: object, expected: str, why: str | list[dict[str, Any]]) -> InvalidPayload:
    """Return the error for a value that cannot be sent as a type, which ``expected`` names."""
    errors = [] if isinstance(why, str) else why
    reason = one_line(why, 500) if isinstance(why, str) else _summary(why)
    text = f"A {type(value).__name__} cannot be sent as {expected}: {reason}"
    return InvalidPayload(text, errors=errors, is_outgoing=True)


def name_of(annotation: Any) -> str:
    """Return the name of a type, for messages."""
    return annotation.__name__ if isinstance(annotation, type) and not get_args(annotation) else str(annotation)


def _summary(errors: list[dict[str, Any]]) -> str:
    named = [f"{'.'.join(map(str, each['path'])) or 'the data'}: {each['message']}" for each in errors[:_NAMED]]
    more = f"; and {len(errors) - _NAMED} more" if len(errors) > _NAMED else ""
    return one_line("; ".join(named) + more, 500)
