"""JSON schemas of serializers of Django REST framework, field by field."""

from typing import Any

from django.core.validators import MaxLengthValidator, MaxValueValidator, MinLengthValidator, MinValueValidator
from django.db import models
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.settings import api_settings

from .schema import or_null

__all__ = ["schema_of"]

# The first class that a field is an instance of; all other fields are any JSON.
_TYPES: list[tuple[type, dict[str, Any]]] = [
    (serializers.BooleanField, {"type": "boolean"}),
    (serializers.EmailField, {"type": "string", "format": "email"}),
    (serializers.URLField, {"type": "string", "format": "uri"}),
    (serializers.CharField, {"type": "string"}),
    (serializers.UUIDField, {"type": "string", "format": "uuid"}),
    (serializers.IPAddressField, {"type": "string"}),
    (serializers.IntegerField, {"type": "integer"}),
    (serializers.FloatField, {"type": "number"}),
    (serializers.DateTimeField, {"type": "string", "format": "date-time"}),
    (serializers.DateField, {"type": "string", "format": "date"}),
    (serializers.TimeField, {"type": "string", "format": "time"}),
    (serializers.DurationField, {"type": "string"}),
    (serializers.HyperlinkedRelatedField, {"type": "string", "format": "uri"}),
    (serializers.StringRelatedField, {"type": "string"}),
]
_KEYWORDS = {
    MinLengthValidator: ("minLength", "minItems"),
    MaxLengthValidator: ("maxLength", "maxItems"),
    MinValueValidator: ("minimum", "minimum"),
    MaxValueValidator: ("maximum", "maximum"),
}


def schema_of(field: Any, *, is_sent: bool) -> dict[str, Any]:
    """Return the JSON schema of a serializer, or of a field of one, as it is read or as it is sent."""
    schema = _schema_of_type(field, is_sent=is_sent)
    if schema and not isinstance(field, serializers.BaseSerializer):
        schema |= _limits(field, is_list=schema.get("type") == "array")
    if getattr(field, "help_text", None):
        schema["description"] = str(field.help_text)
    return or_null(schema) if getattr(field, "allow_null", False) else schema


def _schema_of_type(field: Any, *, is_sent: bool) -> dict[str, Any]:
    match field:
        case serializers.Serializer():
            return _object(field, is_sent=is_sent)
        case serializers.ListSerializer() | serializers.ListField():
            return {"type": "array", "items": schema_of(field.child, is_sent=is_sent)}
        case serializers.ManyRelatedField():
            return {"type": "array", "items": schema_of(field.child_relation, is_sent=is_sent)}
        case serializers.DictField():
            return {"type": "object", "additionalProperties": schema_of(field.child, is_sent=is_sent)}
        case serializers.MultipleChoiceField():
            return {"type": "array", "items": {"enum": list(field.choices)}}
        case serializers.ChoiceField():
            return {"enum": [*field.choices, *([""] if field.allow_blank and "" not in field.choices else [])]}
        case serializers.PrimaryKeyRelatedField():
            return _key(field)
        case serializers.DecimalField():
            return _decimal(field, is_sent=is_sent)
    return next((dict(schema) for kind, schema in _TYPES if isinstance(field, kind)), {})


def _object(serializer: serializers.Serializer, *, is_sent: bool) -> dict[str, Any]:
    properties, required = {}, []
    for name, field in serializer.fields.items():
        if isinstance(field, serializers.HiddenField) or (field.write_only if is_sent else field.read_only):
            continue
        properties[name] = schema_of(field, is_sent=is_sent)
        if _is_always_sent(field) if is_sent else field.required:
            required.append(name)
    return {"title": type(serializer).__name__, "type": "object", "properties": properties, "required": required}


def _is_always_sent(field: Any) -> bool:
    """Return whether a field is never left out. That depends on the object, if the field need not be there."""
    is_of_model = isinstance(field.parent, serializers.ModelSerializer)
    return field.required or field.read_only or field.allow_null or field.default is not empty or is_of_model


def _key(field: Any) -> dict[str, Any]:
    if field.pk_field is not None:
        return schema_of(field.pk_field, is_sent=True)
    queryset = field.get_queryset()
    key = None if queryset is None else queryset.model._meta.pk
    if isinstance(key, models.UUIDField):
        return {"type": "string", "format": "uuid"}
    if isinstance(key, models.IntegerField):
        return {"type": "integer"}
    return {"type": "string"} if isinstance(key, models.CharField) else {"type": ["integer", "string"]}


def _decimal(field: Any, *, is_sent: bool) -> dict[str, Any]:
    if not is_sent:
        return {"type": ["number", "string"]}
    as_text = getattr(field, "coerce_to_string", api_settings.COERCE_DECIMAL_TO_STRING)
    return {"type": "string" if as_text else "number"}


def _limits(field: Any, *, is_list: bool) -> dict[str, Any]:
    limits = {}
    for validator in field.validators:
        keywords = _KEYWORDS.get(type(validator))
        if keywords and isinstance(limit := validator.limit_value, int | float):
            limits[keywords[is_list]] = limit
    return limits
