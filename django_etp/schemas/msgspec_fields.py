"""JSON schemas of the types that msgspec reads and writes."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import msgspec
from msgspec import inspect

__all__ = ["schema_of"]


def schema_of(annotation: Any, *, is_sent: bool) -> dict[str, Any]:
    """Return the JSON schema of a type, as it is read or as it is sent.

    Raises:
        TypeError: the type has none.
    """
    if not is_sent:
        return msgspec.json.schema(annotation)
    structs = {struct.cls: struct for struct in _structs(inspect.type_info(annotation), set())}
    (schema, *references), definitions = msgspec.json.schema_components(
        [annotation, *structs], ref_template="#/$defs/{name}"
    )
    for struct, reference in zip(structs.values(), references, strict=True):
        _require_all(struct, definitions[reference["$ref"].removeprefix("#/$defs/")])
    return {**schema, "$defs": definitions}


def _structs(part: Any, seen: set[int]) -> Iterator[inspect.StructType]:
    """Yield the structs inside of what msgspec knows of a type."""
    if isinstance(part, list | tuple):
        for each in part:
            yield from _structs(each, seen)
    elif isinstance(part, inspect.Type | inspect.Field) and id(part) not in seen:
        seen.add(id(part))
        if isinstance(part, inspect.StructType):
            yield part
        for name in part.__struct_fields__:
            yield from _structs(getattr(part, name), seen)


def _require_all(struct: inspect.StructType, definition: dict[str, Any]) -> None:
    """Require the fields with defaults too, which are always sent, unless the class omits them."""
    cls = get_origin(struct.cls) or struct.cls
    if not (struct.array_like or cls.__struct_config__.omit_defaults):
        fields = msgspec.structs.fields(cls)
        unset = {field.encode_name for field in fields if msgspec.UnsetType in get_args(field.type)}
        definition["required"] = [name for name in definition["properties"] if name not in unset]
