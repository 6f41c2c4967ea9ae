"""Serializers of Django REST framework. A handler gets one that is valid, and returns one to be sent."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from rest_framework.exceptions import ErrorDetail
from rest_framework.serializers import BaseSerializer
from rest_framework.settings import api_settings
from rest_framework.utils.encoders import JSONEncoder

from django_etp.protocol.frames import Event

from .schema import MAX_ERRORS, error_at, json_of, misfit, name_of, or_null, unsendable

__all__ = ["SerializerSchema"]

_encode = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class SerializerSchema:
    """A class of serializers: for one object, or for a list of them (``many``)."""

    uses_database = True

    def __init__(self, serializer: type[BaseSerializer], *, many: bool, is_optional: bool) -> None:
        self._serializer = serializer
        self._options = {"many": True} if many else {}
        self._is_optional = is_optional

    def read(self, event: Event) -> Any:
        """Return a serializer with valid data. See Reader.read()."""
        data = json_of(event)
        if data is None and self._is_optional:
            return None
        serializer = self._serializer(data=data, **self._options)
        if not serializer.is_valid():
            raise misfit(event, list(islice(_errors_in(serializer.errors), MAX_ERRORS)))
        return serializer

    def write(self, value: Any) -> str:
        """Send the ``data`` of a serializer, or of a new one for another object. See Writer.write()."""
        if value is None and self._is_optional:
            return ""
        try:
            serializer = value if isinstance(value, BaseSerializer) else self._serializer(value, **self._options)
            return str(_encode(serializer.data))
        except (AttributeError, KeyError, TypeError, ValueError, AssertionError) as error:
            raise unsendable(value, name_of(self._serializer), f"{type(error).__name__}: {error}") from error

    def json_schema(self, *, is_sent: bool) -> dict[str, Any]:
        """See Reader.json_schema()."""
        from .serializer_fields import schema_of  # which etp_schema alone needs

        schema = schema_of(self._serializer(**self._options), is_sent=is_sent)
        return or_null(schema) if self._is_optional else schema


def _errors_in(errors: Any, path: tuple[object, ...] = ()) -> Iterator[dict[str, Any]]:
    """Yield the errors of a serializer, which follow the shape of its data."""
    if isinstance(errors, ErrorDetail):
        yield error_at(path, errors, errors.code or "invalid")
    elif isinstance(errors, dict):
        for key, each in errors.items():
            yield from _errors_in(each, path if key == api_settings.NON_FIELD_ERRORS_KEY else (*path, key))
    else:
        for index, each in enumerate(errors):
            yield from _errors_in(each, path if isinstance(each, ErrorDetail) else (*path, index))
