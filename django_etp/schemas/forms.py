"""Django forms. A handler gets one that is valid; no form is sent."""

from itertools import islice
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS
from django.forms import BaseForm

from django_etp.protocol.frames import Event

from .schema import MAX_ERRORS, error_at, json_of, misfit, or_null

__all__ = ["FormSchema"]


class FormSchema:
    """A class of forms, whose data is a JSON object with the values of the fields."""

    uses_database = True

    def __init__(self, form: type[BaseForm], *, is_optional: bool) -> None:
        self._form = form
        self._is_optional = is_optional

    def read(self, event: Event) -> Any:
        """Return a form with valid data. See Reader.read()."""
        data = json_of(event)
        if data is None and self._is_optional:
            return None
        if not isinstance(data, dict):
            raise misfit(event, [error_at((), "A JSON object with the fields of a form is expected.", "invalid")])
        form = self._form(data)
        if not form.is_valid():
            listed = (
                error_at(() if field == NON_FIELD_ERRORS else (field,), message, error.code or "invalid")
                for field, errors in form.errors.as_data().items()
                for error in errors
                for message in error.messages
            )
            raise misfit(event, list(islice(listed, MAX_ERRORS)))
        return form

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema(). No form is sent."""
        from .form_fields import schema_of  # which etp_schema alone needs

        schema = schema_of(self._form)
        return or_null(schema) if self._is_optional else schema
