"""How changes of rows add up in a transaction."""

import json
from typing import Any

import pytest

from django_etp.rooms.emits import EmitOnCommit, Emits
from django_etp.rooms.rows import RowChange, Rows

ROWS = Rows("changed")
STATES = {"created": ("", "a"), "updated": ("a", "a"), "deleted": ("a", ""), "left": ("a", "b"), "came": ("b", "a")}


def change(kind: str, *, pk: int = 5, number: int = 0, rows: Rows = ROWS) -> RowChange:
    before, now = STATES[kind]
    return RowChange.create(rows, pk, list(before), list(now), {"number": number})


def sent(*changes: Any) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    emits = Emits()
    for each in changes:
        each.add_to(emits)
    return [(send.rooms, json.loads(send.text.partition("||0||")[2])) for send in emits.sends()]


def kinds(*changes: Any) -> list[tuple[str, str]]:
    return [("".join(rooms), data["change"]) for rooms, data in sent(*changes)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ("created updated", [("a", "created")]),
        ("created deleted", []),
        ("created updated deleted", []),
        ("updated updated", [("a", "updated")]),
        ("updated deleted", [("a", "deleted")]),
        ("deleted deleted", [("a", "deleted")]),
        ("deleted created", [("a", "updated")]),
        ("deleted created deleted", [("a", "deleted")]),
        ("created deleted created", [("a", "created")]),
        ("left", [("b", "created"), ("a", "deleted")]),
        ("left came", [("a", "updated")]),
        ("created left", [("b", "created")]),
    ],
)
def test_changes_add_up(changes: str, expected: list[tuple[str, str]]):
    assert kinds(*map(change, changes.split())) == expected


def test_the_event_has_the_fields_and_the_place_of_the_last_change():
    assert sent(change("created", number=1), change("updated", pk=6, number=2), change("updated", number=3)) == [
        (("a",), {"change": "updated", "pk": 6, "fields": {"number": 2}}),
        (("a",), {"change": "created", "pk": 5, "fields": {"number": 3}}),
    ]


def test_a_deleted_row_has_no_fields():
    assert sent(change("deleted")) == [(("a",), {"change": "deleted", "pk": 5, "fields": {}})]


def test_a_row_in_several_rooms_is_one_event():
    assert sent(RowChange.create(ROWS, 5, ["a", "b"], ["a", "b", "c"], {})) == [
        (("c",), {"change": "created", "pk": 5, "fields": {}}),
        (("a", "b"), {"change": "updated", "pk": 5, "fields": {}}),
    ]


def test_more_than_1000_rows_in_a_room_are_one_event_at_the_place_of_the_last():
    news = EmitOnCommit.create("default", "a", "news", {"change": "news"}, (), None)
    thousand = [change("updated", pk=pk) for pk in range(1000)]
    assert len(sent(*thousand, change("updated", pk=7))) == 1000
    assert sent(*thousand, change("updated", pk=1000), news) == [
        (("a",), {"change": "many"}),
        (("a",), {"change": "news"}),
    ]
    assert kinds(*thousand, change("created", pk=1000), news, change("deleted", pk=7)) == [("a", "news"), ("a", "many")]


def test_other_rooms_and_models_keep_their_events():
    other = Rows("changed")
    both = [RowChange.create(ROWS, pk, ["a", "b"], ["a", "b"], {}) for pk in range(600)]
    more = [change("updated", pk=pk) for pk in range(600, 1001)]
    result = kinds(*both, change("updated", rows=other), *more)
    assert result == [("b", "updated")] * 600 + [("a", "updated"), ("a", "many")]


def test_many_of_a_part_stay_many_with_the_other_parts():
    parts: list[Any] = []
    for start in (0, 5000):
        emits = Emits()
        for pk in range(start, start + 1001):
            change("updated", pk=pk).add_to(emits)
        parts += [change("updated", pk=7), *emits, change("updated", pk=8)]
    assert kinds(*parts) == [("a", "many")]


def test_rows_that_are_nothing_do_not_count():
    changes = [change(kind, pk=pk) for pk in range(1500) for kind in ("created", "deleted")]
    assert kinds(*changes, change("updated")) == [("a", "updated")]
