"""The pattern of a declared room: names and parameters."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import converters, register_converter

from django_etp import NoRoomMatch
from django_etp.rooms.patterns import RoomPattern


class Year:
    regex = "[0-9]{4}"

    def to_python(self, value: str) -> int:
        if value == "0000":
            raise ValueError
        return int(value)

    def to_url(self, value: int) -> str:
        return f"{value:04}"


@pytest.fixture
def year() -> Iterator[None]:
    """Register the converter `year`."""
    register_converter(Year, "year")
    yield
    del converters.REGISTERED_CONVERTERS["year"]
    converters.get_converters.cache_clear()


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("pattern", "name", "parameters"),
    [
        ("lobby", "lobby", {}),
        ("orders/<int:pk>", "orders/5", {"pk": 5}),
        ("orders/<pk>", "orders/5", {"pk": "5"}),
        ("t/<slug:team>/<uuid:id>", f"t/a-team/{UUID}", {"team": "a-team", "id": UUID}),
        ("files/<path:where>", "files/a/b.txt", {"where": "a/b.txt"}),
        ("files/<str:name>.txt", "files/ä%2F.b.txt", {"name": "ä%2F.b"}),
    ],
)
def test_a_name_and_its_parameters_belong_together(pattern: str, name: str, parameters: dict[str, Any]) -> None:
    assert RoomPattern(pattern).match(name) == parameters
    assert RoomPattern(pattern).name(parameters) == name


def test_registered_converters_count(year: None) -> None:
    pattern = RoomPattern("reports/<year:of>")
    assert pattern.match("reports/0987") == {"of": 987}
    assert pattern.name({"of": 987}) == "reports/0987"
    assert pattern.match("reports/0000") is None


@pytest.mark.parametrize(
    "name",
    [
        "orders/",
        "orders/x",
        "orders/5 ",
        "orders/5/",
        "orders/05",
        "orders/٣",
        "orders/-5",
        "orders/%35",
        "orders/5\n",
        "Orders/5",
        "orders/" + "9" * 10_000,
    ],
)
def test_names_that_do_not_match(name: str) -> None:
    assert RoomPattern("orders/<int:pk>").match(name) is None


@pytest.mark.parametrize("value", ["a b", "a|b", "a\tb", "a\x00", "a\u2028b", "\ud800", "x" * 1000, "a/b", ""])
def test_a_name_holds_nothing_that_the_wire_or_a_log_cannot(value: str) -> None:
    pattern = RoomPattern("rooms/<str:name>")
    assert pattern.match(f"rooms/{value}") is None
    with pytest.raises(NoRoomMatch):
        pattern.name({"name": value})


def test_a_reserved_name_matches_nothing() -> None:
    assert RoomPattern("<str:name>.5").match("__user.5") is None


@pytest.mark.parametrize("parameters", [{}, {"pk": "x"}, {"pk": None}, {"pk": "05"}, {"pk": 5, "more": 1}, {"id": 5}])
def test_parameters_that_do_not_fit(parameters: dict[str, Any]) -> None:
    with pytest.raises(NoRoomMatch) as caught:
        RoomPattern("orders/<int:pk>").name(parameters)
    assert "orders/<int:pk>" in str(caught.value)
    assert all(repr(value) in str(caught.value) for value in parameters.values())


def test_parameters_whose_name_would_be_read_as_others_do_not_fit() -> None:
    with pytest.raises(NoRoomMatch):
        RoomPattern("x/<slug:a>-<slug:b>").name({"a": "1", "b": "2-3"})


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("<str:name>", "no literal part"),
        ("<int:a>/<int:b>", "no literal part"),
        ("", "no literal part"),
        ("orders/<nix:pk>", "converter 'nix'"),
        ("orders/<int:pk>/<int:pk>", "a Python name of its own"),
        ("orders/<int:p-k>", "a Python name of its own"),
        ("orders/<int:pk", "must hold no"),
        ("my orders/<int:pk>", "must hold no"),
        ("a|b/<int:pk>", "must hold no"),
        ("__orders", "must hold no"),
        (5, "must be text"),
    ],
)
def test_patterns_that_are_refused(pattern: Any, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem):
        RoomPattern(pattern)


def test_a_converter_whose_regular_expression_is_not_valid_is_refused(year: None, monkeypatch: Any) -> None:
    monkeypatch.setattr(Year, "regex", "(?i)[a-f]+")
    with pytest.raises(ImproperlyConfigured, match=r"in the pattern 'reports/<year:of>' is not valid there: "):
        RoomPattern("reports/<year:of>")


def test_overlaps(year: None) -> None:
    reports = RoomPattern("reports/<year:of>")
    assert reports.can_overlap(RoomPattern("reports/<int:number>"))
    assert not reports.can_overlap(RoomPattern("reports/latest"))
