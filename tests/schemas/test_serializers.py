"""Serializers of Django REST framework."""

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework import serializers

from tests.support.schemas import errors_of, read, refusal_of, write


class Line(serializers.Serializer):
    amount = serializers.IntegerField(min_value=1)
    price = serializers.DecimalField(max_digits=5, decimal_places=2, default=Decimal(1))


class Order(serializers.Serializer):
    lines = Line(many=True)
    tags = serializers.ListField(child=serializers.IntegerField(), default=list)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs["lines"]:
            raise serializers.ValidationError("No lines.", code="empty_order")
        return attrs


class Person(serializers.ModelSerializer):
    class Meta:
        model = User
        fields = ("username",)


def test_a_valid_serializer_is_read() -> None:
    order = read(Order, '{"lines":[{"amount":"2"}],"tags":[1]}')
    assert isinstance(order, Order)
    assert order.validated_data["lines"] == [{"amount": 2, "price": Decimal(1)}]


@pytest.mark.parametrize(
    ("annotation", "data", "errors"),
    [
        (Order, "{}", [(["lines"], "required")]),
        (Order, "[]", [([], "invalid")]),
        (Order, "", [([], "null")]),
        (Order, "no JSON", [([], "json_invalid")]),
        (Order, '{"lines":[]}', [([], "empty_order")]),
        (Order, '{"lines":[{"amount":1},{"amount":0}]}', [(["lines", 1, "amount"], "min_value")]),
        (Order, '{"lines":[{"amount":1}],"tags":[1,"x"]}', [(["tags", 1], "invalid")]),
        (Order, '{"lines":5}', [(["lines"], "not_a_list")]),
        (list[Line], '[{"amount":1},{}]', [([1, "amount"], "required")]),
        (list[Line], "{}", [([], "not_a_list")]),
    ],
)
def test_what_does_not_fit_is_said_field_by_field(annotation: Any, data: str, errors: list[Any]) -> None:
    assert errors_of(annotation, data) == errors


def test_many_errors_are_cut() -> None:
    assert len(errors_of(list[Line], f"[{','.join(['{}'] * 500)}]")) == 100


def test_a_list_of_serializers_is_read_as_one() -> None:
    assert read(list[Line], '[{"amount":1}]').validated_data == [{"amount": 1, "price": Decimal(1)}]


def test_no_data_is_none_if_the_type_allows_it() -> None:
    assert read(Order | None) is None
    assert write(Order | None, None) == ""


def test_a_serializer_is_sent_with_its_data() -> None:
    line = {"amount": 1, "price": Decimal("2.50")}
    assert write(Line, Line(line)) == '{"amount":1,"price":"2.50"}'
    assert write(Line, line) == '{"amount":1,"price":"2.50"}'
    assert write(list[Line], [line, line]) == '[{"amount":1,"price":"2.50"},{"amount":1,"price":"2.50"}]'
    assert write(Person, User(username="ada")) == '{"username":"ada"}'


@pytest.mark.parametrize("value", [object(), {"price": 1}, {"amount": "x", "price": 1}])
def test_what_a_serializer_cannot_write_is_refused(value: Any) -> None:
    assert "cannot be sent as Line" in str(refusal_of(Line, value))


@pytest.mark.django_db
def test_a_serializer_may_look_into_the_database() -> None:
    assert read(Person, '{"username":"ada"}').save().pk
    assert errors_of(Person, '{"username":"ada"}') == [(["username"], "unique")]
