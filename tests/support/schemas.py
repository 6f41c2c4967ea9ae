"""Read and write payloads with a type, as handlers and senders do."""

from typing import Any

import pytest

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
