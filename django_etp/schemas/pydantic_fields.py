"""JSON schemas of the types that pydantic reads and writes."""

import warnings
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, PydanticJsonSchemaWarning

__all__ = ["schema_of"]


def schema_of(adapter: TypeAdapter[Any], *, is_sent: bool) -> dict[str, Any]:
    """Return the JSON schema of a type, as it is read or as it is sent.

    Raises:
        PydanticUserError: the type has none.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PydanticJsonSchemaWarning)  # of defaults that JSON cannot hold
        if is_sent:
            return adapter.json_schema(schema_generator=_Sent, mode="serialization")
        return adapter.json_schema(mode="validation")


class _Sent(GenerateJsonSchema):
    def field_is_required(self, field: Any, total: bool) -> bool:
        """Return whether a field is always sent: so are those with a default, if nothing excludes them."""
        if field["type"] == "typed-dict-field":
            return super().field_is_required(field, total)
        return field.get("serialization_exclude_if") is None
