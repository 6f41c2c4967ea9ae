"""The dict behind `connection.data`: what it takes, and that it says which key it refuses."""

from collections.abc import Callable
from typing import Any

import pytest

from django_etp.exceptions import DataTooLarge
from django_etp.sessions.data import ConnectionData, from_json

REFUSED = [object(), {1, 2}, b"bytes", float("nan"), float("inf"), {"deep": [object()]}, {1: "a"}, [{"a": {2: "b"}}]]
WAYS: dict[str, Callable[[ConnectionData, Any], object]] = {
    "item": lambda data, value: data.__setitem__("seat", value),
    "setdefault": lambda data, value: data.setdefault("seat", value),
    "update": lambda data, value: data.update({"seat": value}),
    "keyword": lambda data, value: data.update(seat=value),
    "or": lambda data, value: data.__ior__({"seat": value}),
}


@pytest.mark.parametrize("value", ["text", "", "\ud800", 1, 1.5, 2**80, True, None, [], [1, ["a"]], {"a": {"b": None}}])
def test_what_json_holds_is_taken_and_comes_back(value: Any) -> None:
    data = ConnectionData()
    data["seat"] = value
    assert from_json(data.to_json()) == {"seat": value}


@pytest.mark.parametrize("value", REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("way", WAYS)
def test_what_json_cannot_hold_is_refused_by_its_key(way: str, value: Any) -> None:
    data = ConnectionData()
    with pytest.raises(TypeError, match=r"connection\.data\['seat'\]"):
        WAYS[way](data, value)
    assert data == {}


def test_a_value_nested_too_deeply_is_refused_by_its_key() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match=r"connection\.data\['seat'\] is nested too deeply"):
        ConnectionData()["seat"] = deep
    while deep:  # freed level by level
        deep = deep.pop()


@pytest.mark.parametrize("key", [1, None, b"seat", ("a", "b")])
def test_a_key_that_is_not_text_is_refused(key: Any) -> None:
    with pytest.raises(TypeError, match="must be str, got"):
        ConnectionData()[key] = 1


def test_an_update_with_a_refused_value_changes_nothing() -> None:
    data = ConnectionData()
    with pytest.raises(TypeError):
        data.update({"seat": 1, "row": object()})
    assert data == {}


def test_setdefault_gives_what_is_there() -> None:
    data = ConnectionData()
    data["seats"] = [1]
    data.setdefault("seats", []).append(2)
    assert data == {"seats": [1, 2]}


def test_or_keeps_it_what_it_is() -> None:
    data = ConnectionData()
    data |= {"seat": 1}
    assert isinstance(data, ConnectionData)


def test_a_nested_value_that_became_no_json_is_told_by_its_key() -> None:
    data = ConnectionData()
    data["row"] = 1
    data["seats"] = []
    data["seats"].append(object())
    with pytest.raises(TypeError, match=r"connection\.data\['seats'\]"):
        data.to_json()


def test_a_nested_value_that_became_too_deep_is_told_by_its_key() -> None:
    data = ConnectionData()
    data["seats"] = inner = []  # type: list[Any]
    for _ in range(100_000):
        inner.append(inner := [])
    with pytest.raises(TypeError, match=r"connection\.data\['seats'\] is nested too deeply"):
        data.to_json()
    inner = data.pop("seats")
    while inner:  # freed level by level
        inner = inner.pop()


def test_a_value_that_became_circular_is_told_by_its_key() -> None:
    data = ConnectionData()
    data["seats"] = []
    data["seats"].append(data["seats"])
    with pytest.raises(TypeError, match=r"connection\.data\['seats'\]"):
        data.to_json()
    data["seats"].clear()


# The bound


def test_data_that_is_too_large_loses_what_added_most_and_no_other_change(settings: Any) -> None:
    settings.ETP = {"MAX_DATA_SIZE": 200}
    data = ConnectionData({"name": "Ann", "notes": ["short"]})
    written = data.to_json()
    data["seat"] = 1
    data["notes"].append("x" * 300)
    data["page"] = "y" * 400
    with pytest.raises(DataTooLarge, match=r"at most 200 bytes.*MAX_DATA_SIZE.*got 7\d\d.*\['page', 'notes'\]"):
        data.to_json_or_mend(written)
    assert data == {"name": "Ann", "notes": ["short"], "seat": 1}
    assert from_json(data.to_json_or_mend(written)) == data


def test_data_of_as_many_bytes_as_allowed_is_not_too_large(settings: Any) -> None:
    data = ConnectionData({"name": "é" * 10})
    settings.ETP = {"MAX_DATA_SIZE": len(data.to_json())}
    assert data.to_json_or_mend("{}") == data.to_json()
    data["name"] += "e"
    with pytest.raises(DataTooLarge):
        data.to_json_or_mend("{}")
    assert data == {}


def test_a_change_that_makes_the_data_too_large_changes_nothing(settings: Any) -> None:
    settings.ETP = {"MAX_DATA_SIZE": 100}
    data = ConnectionData({"name": "Ann", "old": 1})
    with pytest.raises(DataTooLarge, match=r"Nothing was changed\."):
        data.change({"seat": 1, "page": "x" * 100}, ["old"])
    assert data == {"name": "Ann", "old": 1}
    data.change({"seat": 1}, ["old", "none"])
    assert data == {"name": "Ann", "seat": 1}
