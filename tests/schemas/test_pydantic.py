"""Types that pydantic reads and writes."""

import datetime
import uuid
from dataclasses import InitVar, dataclass, field
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, computed_field, field_serializer
from typing_extensions import TypedDict

from django_etp.schemas import schema
from tests.support.schemas import errors_of, read, refusal_of, write


@dataclass
class Say:
    text: str
    to: int | None = None


@dataclass
class Order:
    lines: list[Say]
    amount: Annotated[int, Field(gt=0)] = 1
    made: str = field(init=False, default="made")


class Point(TypedDict):
    x: int
    y: int


class Person(BaseModel):
    name: str
    born: datetime.date
    from_: str = Field("", alias="from")


class Moment(BaseModel):
    at: datetime.datetime

    @field_serializer("at")
    def seconds(self, at: datetime.datetime) -> float:
        return at.timestamp()

    @computed_field
    def year(self) -> int:
        return self.at.year


@dataclass
class Squared:
    number: InitVar[int]
    square: int = 0

    def __post_init__(self, number: int) -> None:
        self.square = number * number


ID = uuid.UUID(int=1)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        (Say, '{"text":"hi","to":null}', Say("hi")),
        (Say | None, '{"text":"hi","to":5}', Say("hi", 5)),
        (list[Say], '[{"text":"hi","to":null}]', [Say("hi")]),
        (Point, '{"x":1,"y":2}', {"x": 1, "y": 2}),
        (
            Person,
            '{"name":"Ada","born":"1815-12-10","from":"x"}',
            Person(name="Ada", born="1815-12-10", **{"from": "x"}),
        ),
        (int, "5", 5),
        (bool, "true", True),
        (float, "5.0", 5.0),
        (str | None, '"hi"', "hi"),
        (list[int], "[1,2]", [1, 2]),
        (dict[str, float], '{"a":1.5}', {"a": 1.5}),
        (Literal["a", "b"], '"a"', "a"),
        (uuid.UUID, f'"{ID}"', ID),
        (datetime.date, '"2026-11-30"', datetime.date(2026, 11, 30)),
    ],
)
def test_values_there_and_back(annotation: Any, text: str, value: Any) -> None:
    assert read(annotation, text) == value
    assert write(annotation, value) == text


@pytest.mark.parametrize(
    ("annotation", "data", "errors"),
    [
        (Say, '{"text":5,"to":"x"}', [(["text"], "string_type"), (["to"], "int_parsing")]),
        (Say, "{}", [(["text"], "missing")]),
        (Say, "[]", [([], "dataclass_type")]),
        (Say, "not JSON", [([], "json_invalid")]),
        (
            Order,
            '{"lines":[{"text":"a"},{}],"amount":0}',
            [(["lines", 1, "text"], "missing"), (["amount"], "greater_than")],
        ),
        (Person, '{"name":"Ada","born":"soon"}', [(["born"], "date_from_datetime_parsing")]),
        (int, '"x"', [([], "int_parsing")]),
        (list[int], '[1,"x"]', [([1], "int_parsing")]),
        (Point, '{"x":1}', [(["y"], "missing")]),
    ],
)
def test_what_does_not_fit_is_said_field_by_field(annotation: Any, data: str, errors: list[Any]) -> None:
    assert errors_of(annotation, data) == errors


@pytest.mark.parametrize("annotation", [Say | None, str | None, Any | None])
def test_no_data_is_none_if_the_type_allows_it(annotation: Any) -> None:
    assert read(annotation) is None


@pytest.mark.parametrize("annotation", [Say, int, list[int], Point, Person])
def test_no_data_does_not_fit_another_type(annotation: Any) -> None:
    assert len(errors_of(annotation)) == 1


def test_none_is_sent_as_no_data() -> None:
    assert write(Say | None, None) == ""


def test_very_many_errors_are_counted() -> None:
    assert errors_of(list[int], "[" + ",".join(['"x"'] * 101) + "]") == [([], "too_many_errors")]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, "5"),
        (Say, Say(5)),  # type: ignore[arg-type]
        (Say, {"text": "hi"}),
        (Say, None),
        (list[Say], [Say("a", "b")]),  # type: ignore[arg-type]
        (dict[str, Say], {"a": Say("a", "b")}),  # type: ignore[arg-type]
        (Order, Order([], -1)),
        (Order, Order([Say(5)])),  # type: ignore[arg-type]
        (Point, {"x": 1}),
        (list[int], (1, 2)),
        (object | int, object()),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_tests(annotation: Any, value: Any) -> None:
    assert "cannot be sent as" in str(refusal_of(annotation, value))


def test_the_errors_of_a_value_are_said_field_by_field() -> None:
    error = refusal_of(Order, Order([Say("a", "b")], 0))  # type: ignore[arg-type]
    assert [each["path"] for each in error.errors] == [["lines", 0, "to"], ["amount"]]


def test_in_production_values_are_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "is_under_test", False)
    assert write(Order, Order([], -1)) == '{"lines":[],"amount":-1,"made":"made"}'
    assert write(int, "5") == '"5"'
    assert write(Say, None) == ""


def test_in_production_what_is_no_json_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "is_under_test", False)
    refusal_of(Say, Say(object()))  # type: ignore[arg-type]
    circle: list[Any] = []
    circle.append(circle)
    refusal_of(list[Any], circle)
    refusal_of(list[str], ["\ud800"])


def test_what_is_written_in_another_way_than_it_is_read_may_be_sent() -> None:
    moment = Moment(at=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
    assert write(Moment, moment) == '{"at":1767225600.0,"year":2026}'


def test_fields_that_a_class_fills_itself_are_sent() -> None:
    assert write(Order, Order([Say("a")])) == '{"lines":[{"text":"a","to":null}],"amount":1,"made":"made"}'
    assert write(Squared, Squared(3)) == '{"square":9}'
