"""JSON schemas of Django forms: of the data that a form expects, field by field."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.validators import MaxLengthValidator, MaxValueValidator, MinLengthValidator, MinValueValidator

from .schema import or_null

__all__ = ["schema_of"]

# The first class that a field is an instance of; all other fields take any JSON.
_TYPES: list[tuple[type[forms.Field], dict[str, Any]]] = [
    (forms.EmailField, {"type": "string", "format": "email"}),
    (forms.URLField, {"type": "string", "format": "uri"}),
    (forms.UUIDField, {"type": "string", "format": "uuid"}),
    (forms.JSONField, {}),
    (forms.CharField, {"type": "string"}),
    (forms.DecimalField, {"type": ["number", "string"]}),
    (forms.FloatField, {"type": "number"}),
    (forms.IntegerField, {"type": "integer"}),
    (forms.DateTimeField, {"type": "string", "format": "date-time"}),
    (forms.DateField, {"type": "string", "format": "date"}),
    (forms.TimeField, {"type": "string", "format": "time"}),
    (forms.DurationField, {"type": "string"}),
    (forms.NullBooleanField, {"type": ["boolean", "null"]}),
    (forms.BooleanField, {"type": "boolean"}),
    (forms.ModelMultipleChoiceField, {"type": "array", "items": {"type": ["integer", "string"]}}),
    (forms.ModelChoiceField, {"type": ["integer", "string"]}),
    (forms.GenericIPAddressField, {"type": "string"}),
]


def schema_of(form: Callable[[], forms.BaseForm]) -> dict[str, Any]:
    """Return the JSON schema of a class of forms."""
    new = form()
    properties: dict[str, Any] = {}
    required = []
    for name, field in new.fields.items():
        if isinstance(field.widget, forms.MultiWidget):  # takes the parts of the value one by one
            widget: Any = field.widget
            properties.update({f"{new.add_prefix(name)}{part}": {} for part in widget.widgets_names})
            continue
        key = new.add_prefix(name)
        schema = _schema_of_field(field)
        if field.help_text:
            schema["description"] = str(field.help_text)
        properties[key] = schema if field.required else or_null(schema)
        if field.required:
            required.append(key)
    title = getattr(form, "__name__", "Form")
    return {"title": title, "type": "object", "properties": properties, "required": required}


def _schema_of_field(field: forms.Field) -> dict[str, Any]:
    if isinstance(field, forms.ChoiceField) and not isinstance(field, forms.ModelChoiceField):
        one: dict[str, Any] = {"enum": _values(field.choices)}
        return {"type": "array", "items": one} if isinstance(field, forms.MultipleChoiceField) else one
    schema = next((dict(schema) for kind, schema in _TYPES if isinstance(field, kind)), {})
    return {**schema, **_limits(field)} if schema else schema


def _values(choices: Any) -> list[str]:
    """Return the values of choices, groups included; a form compares them as text."""
    values: list[str] = []
    for value, label in choices:
        values += _values(label) if isinstance(label, list | tuple) else [str(value)]
    return values


def _limits(field: forms.Field) -> dict[str, Any]:
    keywords: dict[type, str] = {
        MinLengthValidator: "minLength",
        MaxLengthValidator: "maxLength",
        MinValueValidator: "minimum",
        MaxValueValidator: "maximum",
    }
    limits = {}
    for validator in field.validators:
        keyword = keywords.get(type(validator))
        if keyword and isinstance(limit := getattr(validator, "limit_value", None), int | float):
            limits[keyword] = limit
    return limits
