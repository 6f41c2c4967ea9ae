"""JSON schemas of Django forms."""

from typing import Any

import pytest
from django import forms
from django.contrib.auth.models import Group

from tests.support.schemas import is_read, is_valid, json_schema


class Order(forms.Form):
    name = forms.CharField(max_length=3, help_text="Who orders.")
    amount = forms.IntegerField(min_value=1, required=False)
    size = forms.ChoiceField(choices=[("s", "small"), ("More", [("l", "large")])], required=False)
    colors = forms.MultipleChoiceField(choices=[("red", "Red"), ("blue", "Blue")], required=False)
    weight = forms.FloatField(required=False)
    day = forms.DateField(required=False)
    mail = forms.EmailField(required=False)
    extra = forms.JSONField(required=False)
    when = forms.SplitDateTimeField(required=False)


@pytest.mark.parametrize(
    "data",
    [
        '{"name":"ana"}',
        '{"name":"ana","amount":2,"size":"l","colors":["red"],"weight":1.5,"day":"2026-01-02","extra":{"a":1}}',
        '{"name":"ana","amount":null,"size":null}',
        '{"name":"Maria"}',
        "{}",
        '{"name":"ana","amount":0}',
        '{"name":"ana","size":"xl"}',
        '{"name":"ana","colors":["green"]}',
        '{"name":"ana","weight":"heavy"}',
        "[]",
        '{"name":"ana","when_0":"2026-01-02","when_1":"10:00"}',
    ],
)
@pytest.mark.parametrize("annotation", [Order, Order | None], ids=str)
def test_what_fits_the_schema_is_read_and_nothing_else(annotation: Any, data: str) -> None:
    assert is_valid(json_schema(annotation), data) == is_read(annotation, data)


def test_none_fits_an_optional_form() -> None:
    assert is_valid(json_schema(Order | None), "null")
    assert not is_valid(json_schema(Order), "null")


def test_formats_and_texts_are_told() -> None:
    schema = json_schema(Order)
    assert schema["title"] == "Order"
    assert schema["properties"]["name"]["description"] == "Who orders."
    assert schema["properties"]["mail"]["format"] == "email"
    assert {"when_0", "when_1"} <= schema["properties"].keys()


def test_rows_of_a_model_are_named_by_their_keys() -> None:
    class Members(forms.Form):
        group = forms.ModelChoiceField(Group.objects.all())
        others = forms.ModelMultipleChoiceField(Group.objects.all())

    assert json_schema(Members)["properties"] == {
        "group": {"type": ["integer", "string"]},
        "others": {"type": "array", "items": {"type": ["integer", "string"]}},
    }
