"""JSON schemas of serializers of Django REST framework."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from rest_framework import serializers

from tests.support.schemas import is_read, is_valid, json_schema, write


class Line(serializers.Serializer):
    amount = serializers.IntegerField(min_value=1, max_value=9)
    price = serializers.DecimalField(max_digits=5, decimal_places=2, default=Decimal(1))


class Order(serializers.Serializer):
    id = serializers.IntegerField(read_only=True)
    secret = serializers.CharField(write_only=True, max_length=5, allow_null=True, help_text="What no one sees.")
    lines = Line(many=True)
    kind = serializers.ChoiceField(choices=["a", "b"], required=False)
    tags = serializers.ListField(child=serializers.CharField(), min_length=1, required=False)
    notes = serializers.DictField(child=serializers.IntegerField(), required=False)
    colors = serializers.MultipleChoiceField(choices=["red"], required=False)
    total = serializers.SerializerMethodField()
    user = serializers.HiddenField(default=1)

    def get_total(self, order: object) -> int:
        return 5


class Person(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("id", "username", "email", "date_joined", "groups")


@pytest.mark.parametrize(
    "data",
    [
        '{"secret":"a","lines":[{"amount":2}]}',
        '{"secret":null,"lines":[],"kind":"a","tags":["x"],"notes":{"a":1},"colors":["red"]}',
        '{"lines":[]}',
        '{"secret":"toolong","lines":[]}',
        '{"secret":"a","lines":[{"amount":10}]}',
        '{"secret":"a","lines":[{"amount":2,"price":[]}]}',
        '{"secret":"a","lines":{}}',
        '{"secret":"a","lines":[],"kind":"c"}',
        '{"secret":"a","lines":[],"tags":[]}',
        '{"secret":"a","lines":[],"notes":{"a":"b"}}',
        '{"secret":"a","lines":[],"colors":["green"]}',
    ],
)
def test_what_fits_the_schema_is_read_and_nothing_else(data: str) -> None:
    assert is_valid(json_schema(Order), data) == is_read(Order, data)
    assert is_valid(json_schema(list[Order]), f"[{data}]") == is_read(list[Order], f"[{data}]")


def test_what_is_sent_fits_the_schema() -> None:
    schema = json_schema(Order, is_sent=True)
    order = {"id": 1, "lines": [{"amount": 1, "price": Decimal(1)}], "tags": ["a"]}
    assert is_valid(schema, write(Order, order))
    assert schema["required"] == ["id", "lines", "total"]
    assert "secret" not in schema["properties"]
    assert is_valid(json_schema(Order | None, is_sent=True), "null")


def test_what_is_written_and_what_is_read_have_fields_of_their_own() -> None:
    assert json_schema(Order)["required"] == ["secret", "lines"]
    assert json_schema(Order)["properties"]["secret"] == {
        "type": ["string", "null"],
        "maxLength": 5,
        "description": "What no one sees.",
    }
    assert json_schema(Line)["properties"]["price"] == {"type": ["number", "string"]}
    assert json_schema(Line, is_sent=True)["properties"]["price"] == {"type": "string"}


@pytest.mark.django_db
def test_fields_of_a_model_have_types() -> None:
    schema = json_schema(Person, is_sent=True)
    user = User.objects.create(username="ana")
    user.groups.add(Group.objects.create(name="red"))
    assert is_valid(schema, write(Person, user))
    assert schema["required"] == ["id", "username", "email", "date_joined", "groups"]
    assert schema["properties"]["date_joined"]["format"] == "date-time"
    assert schema["properties"]["groups"]["items"]["type"] == "integer"
    assert not is_valid(schema, json.dumps({**json.loads(write(Person, user)), "groups": ["red"]}))


def test_a_serializer_of_its_own_kind_may_send_anything() -> None:
    class Plain(serializers.BaseSerializer):
        def to_representation(self, instance: Any) -> Any:
            return instance

    assert json_schema(Plain, is_sent=True) == {}
