"""What the entries of several processes show together."""

import itertools
import json
from typing import Any

import pytest

from django_etp.cluster.messages import Malformed
from django_etp.presence.entries import Entry, Shown, merge


def entry(connections: int, floor: int = 0, *, info: str = "{}", informed_at: float = 1.0, since: float = 1.0) -> Entry:
    return Entry("ana", info, informed_at, since, connections, floor)


@pytest.mark.parametrize(
    ("entries", "connections"),
    [
        ([entry(1)], 1),
        ([entry(1), entry(2)], 3),
        ([entry(0, 2), entry(1)], 2),  # one of two has ended
        ([entry(0, 1), entry(1)], 1),  # it has returned elsewhere
        ([entry(0, 2), entry(0, 3)], 3),
        ([entry(0, 1)], 1),
    ],
)
def test_connections_fill_the_place_below_the_floor(entries: list[Entry], connections: int) -> None:
    for each in itertools.permutations(entries):
        shown = merge(each)
        assert shown is not None
        assert shown.connections == connections


@pytest.mark.parametrize("entries", [[], [entry(0)], [entry(0), entry(0)]])
def test_nobody_is_there_without_connections_and_floors(entries: list[Entry]) -> None:
    assert merge(entries) is None


def test_the_first_time_and_the_latest_information_count() -> None:
    entries = [
        entry(1, info='{"a":1}', informed_at=5.0, since=3.0),
        entry(1, info='{"a":2}', informed_at=7.0, since=2.0),
        entry(1, info='{"a":3}', informed_at=6.0, since=4.0),
    ]
    for each in itertools.permutations(entries):
        shown = merge(each)
        assert shown is not None
        assert (shown.info, shown.since) == ('{"a":2}', 2.0)


def test_a_trace_shows_nothing() -> None:
    shown = merge([entry(0, info='{"a":1}', informed_at=9.0, since=1.0), entry(1, since=8.0, informed_at=8.0)])
    assert shown == Shown("ana", "{}", 8.0, 1)


def test_the_text_is_json() -> None:
    shown = Shown('a"b\ud800', '{"name":"Ä"}', 1.5, 2)
    assert json.loads(shown.text) == {"key": 'a"b\ud800', "info": {"name": "Ä"}, "since": 1.5, "connections": 2}
    shown.text.encode()


def test_an_entry_comes_back_from_plain_values() -> None:
    assert Entry.from_plain(json.loads(json.dumps(entry(2, 3, info='{"x":"ü"}').to_plain()))) == entry(
        2, 3, info='{"x":"ü"}'
    )


@pytest.mark.parametrize(
    "values",
    [
        *(None, [], "ana", ["ana", "{}", 1, 1, 1]),
        *([1, "{}", 1, 1, 1, 0], ["ana", "[]", 1, 1, 1, 0], ["ana", "{", 1, 1, 1, 0], ["ana", "[" * 10**5, 1, 1, 1, 0]),
        *(["ana", '{"a":"\ud800"}', 1, 1, 1, 0], ["ana", "{}", float("nan"), 1, 1, 0], ["ana", "{}", 1, None, 1, 0]),
        *(["ana", "{}", 1, float("inf"), 1, 0], ["ana", "{}", 1, 1, -1, 0], ["ana", "{}", 1, 1, 1, 0.5]),
    ],
    ids=range(14),
)
def test_other_values_are_malformed(values: Any) -> None:
    with pytest.raises(Malformed, match="a list of six"):
        Entry.from_plain(values)
