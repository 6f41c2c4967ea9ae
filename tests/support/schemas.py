"""Read and write payloads with a type, as handlers and senders do."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from django_etp import Event, InvalidPayload
from django_etp.schemas.adapters import reader_for, writer_for


def read(annotation: Any, data: str = "") -> Any:
    """Return the data as a value of the type."""
    reader = reader_for(annotation)
    assert reader is not None
    return reader.read(Event("say", 1, data))


def errors_of(annotation: Any, data: str = "") -> list[tuple[list[Any], str]]:
    """Return the paths and codes of the errors that the data has."""
    with pytest.raises(InvalidPayload) as caught:
        read(annotation, data)
    assert not caught.value.is_outgoing
    assert all(each["message"] for each in caught.value.errors)
    return [(each["path"], each["code"]) for each in caught.value.errors]


def write(annotation: Any, value: Any) -> str:
    """Return the wire text of a value."""
    writer = writer_for(annotation)
    assert writer is not None
    return writer.write(value)


def refusal_of(annotation: Any, value: Any) -> InvalidPayload:
    """Return the error that the value has when it is sent."""
    with pytest.raises(InvalidPayload) as caught:
        write(annotation, value)
    assert caught.value.is_outgoing
    return caught.value


def json_schema(annotation: Any, *, is_sent: bool = False) -> dict[str, Any]:
    """Return the JSON schema of a type, as it is read or as it is sent."""
    adapter = writer_for(annotation) if is_sent else reader_for(annotation)
    assert adapter is not None
    return adapter.json_schema(is_sent=is_sent)


def is_valid(schema: dict[str, Any], data: str) -> bool:
    """Return whether data, a text of JSON, fits a JSON schema of a library."""
    return Draft202012Validator(schema).is_valid(json.loads(data))


def is_read(annotation: Any, data: str) -> bool:
    """Return whether a handler with this type would run."""
    try:
        read(annotation, data)
    except InvalidPayload:
        return False
    return True
