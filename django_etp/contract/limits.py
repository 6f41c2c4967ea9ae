"""The keywords of JSON schemas that limit the values of a type."""

import json
import math
import operator
import re
from typing import Any

__all__ = ["NOTES", "STRUCTURE", "holds", "is_same", "value_fits"]

# Keywords that do not limit the values.
NOTES = frozenset(
    {"$comment", "$id", "$schema", "contentMediaType", "default", "deprecated", "description", "discriminator"}
    | {"example", "examples", "externalDocs", "readOnly", "title", "writeOnly"}
)
# Keywords for the structure of the values.
STRUCTURE = frozenset(
    {"$ref", "additionalItems", "additionalProperties", "allOf", "anyOf", "const", "enum", "items", "oneOf"}
    | {"patternProperties", "properties", "propertyNames", "required", "type"}
)
_COMPARED = {
    "exclusiveMaximum": operator.lt,
    "exclusiveMinimum": operator.gt,
    "maxLength": operator.le,
    "maximum": operator.le,
    "minLength": operator.ge,
    "minimum": operator.ge,
}
_AT_LEAST = frozenset({"exclusiveMinimum", "minItems", "minLength", "minProperties", "minimum"})
_AT_MOST = frozenset({"exclusiveMaximum", "maxItems", "maxLength", "maxProperties", "maximum"})
# Keywords with the same meaning for a neighbouring number, which is above (1) or below (-1).
_TWINS = {
    "exclusiveMaximum": ("maximum", 1),
    "exclusiveMinimum": ("minimum", -1),
    "maximum": ("exclusiveMaximum", -1),
    "minimum": ("exclusiveMinimum", 1),
}
_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values are the same JSON. In Python, ``True == 1``."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def holds(schema: dict[str, Any], keyword: str, wanted: Any) -> bool:
    """Return whether the limits of a schema keep the wanted one."""
    given = _limit_of(schema, keyword)
    if keyword == "multipleOf" and isinstance(given, int) and isinstance(wanted, int):
        return given % wanted == 0
    if keyword in _AT_LEAST or keyword in _AT_MOST:
        if keyword.startswith("min") and keyword != "minimum" and wanted == 0:
            return True
        if not isinstance(given, int | float) or not isinstance(wanted, int | float):
            return False
        return given >= wanted if keyword in _AT_LEAST else given <= wanted
    return is_same(given, wanted) or wanted is False


def _limit_of(schema: dict[str, Any], keyword: str) -> Any:
    """Return a limit of a schema, as one keyword names it; ``None`` is no limit."""
    limit = schema.get(keyword)
    twin, step = _TWINS.get(keyword, ("", 0))
    other = schema.get(twin)
    if isinstance(other, int | float):
        is_whole = schema.get("type") == "integer" and isinstance(other, int)
        same = other + step if is_whole else math.nextafter(other, step * math.inf)
        limit = same if limit is None else max(limit, same) if keyword in _AT_LEAST else min(limit, same)
    return limit


def value_fits(value: Any, wanted: dict[str, Any]) -> bool:
    """Return whether one value fits a schema that is no reference and no union; in doubt it does not."""
    kind = wanted.get("type")
    if kind is not None and (
        not isinstance(value, _TYPES.get(kind, ())) or (isinstance(value, bool) and kind != "boolean")
    ):
        return False
    return all(_keeps(value, keyword, limit) for keyword, limit in wanted.items() if keyword not in (*NOTES, "type"))


def _keeps(value: Any, keyword: str, limit: Any) -> bool:
    if keyword == "const":
        return is_same(value, limit)
    if keyword == "pattern" and isinstance(value, str):
        return re.search(limit, value) is not None
    measure = len(value) if isinstance(value, str) and keyword.endswith("Length") else value
    if keyword not in _COMPARED or isinstance(measure, str | bool) or not isinstance(measure, int | float):
        return False
    return bool(_COMPARED[keyword](measure, limit))
