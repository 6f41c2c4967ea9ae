"""The two types that need no library: ``str``, which is raw text, and ``None``, which is no data."""

from typing import Any

from django.utils.functional import Promise

from django_etp.protocol.frames import Event
from django_etp.serialization import to_text

from .schema import error_at, is_checking, misfit, unsendable

__all__ = ["NoData", "Text"]


class Text:
    """A bare ``str``: the text of the data as it is. Absent data is an empty text."""

    uses_database = False

    def read(self, event: Event) -> str:
        """See Reader.read()."""
        return event.data

    def write(self, value: Any) -> str:
        """See Writer.write()."""
        if not isinstance(value, str | Promise) and is_checking():
            raise unsendable(value, "str", "text is expected.")
        return to_text(value)

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema()."""
        return {"type": "string"}


class NoData:
    """``None``: an event or an answer without data."""

    uses_database = False

    def read(self, event: Event) -> None:
        """See Reader.read()."""
        if event.data:
            raise misfit(event, [error_at((), "No data is expected.", "unexpected_data")])

    def write(self, value: Any) -> str:
        """See Writer.write()."""
        if value is not None and is_checking():
            raise unsendable(value, "None", "no data is expected.")
        return to_text(value)

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema()."""
        return {"type": "null"}
