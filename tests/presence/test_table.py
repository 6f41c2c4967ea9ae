"""The shares of one room, and what they show."""

from typing import Any

from django_etp.presence.entries import Entry, Shown
from django_etp.presence.table import Share, Table


def entry(key: str, connections: int = 1, floor: int = 0) -> Entry:
    return Entry(key, "{}", 1.0, 1.0, connections, floor)


def table() -> tuple[Table, list[Any]]:
    changes: list[Any] = []

    def changed(key: str, before: Shown | None) -> None:
        changes.append((key, before and before.connections))

    return Table("own", changed), changes


def counts(table: Table) -> dict[str, int]:
    return {key: shown.connections for key, shown in table.shown.items()}


def test_changes_of_shares_show() -> None:
    room, changes = table()
    room.put(room.own, entry("ana"))
    room.replace("b", Share([entry("ana"), entry("bob")], 3))
    assert counts(room) == {"ana": 2, "bob": 1}
    assert room.connections("ana") == 2
    assert room.others == ["b"]
    room.replace("b", Share([entry("cleo")], 4))
    room.remove(room.own, "ana")
    room.remove(room.own, "ana")
    assert counts(room) == {"cleo": 1}
    room.drop("b")
    room.drop("b")
    assert counts(room) == {}
    assert changes == [
        *(("ana", None), ("ana", 1), ("bob", None)),
        *(("ana", 2), ("bob", 1), ("cleo", None), ("ana", 1), ("cleo", 1)),
    ]


def test_what_changes_nothing_is_not_reported() -> None:
    room, changes = table()
    room.put(room.own, entry("ana"))
    room.put(room.own, entry("ana", 0, 1))
    room.replace("b", Share([entry("ana", 0, 1)]))
    room.replace("b", Share([entry("ana", 1)]))
    assert changes == [("ana", None)]


def test_the_connections_of_an_ended_process_become_floors() -> None:
    room, changes = table()
    room.put(room.own, entry("ana", 2))
    room.replace("b", Share([entry("ana", 1), entry("bob", 0, 2)]))
    room.orphan("b")
    room.orphan("b")
    room.orphan("unknown")
    assert counts(room) == {"ana": 3, "bob": 2}
    assert changes == [("ana", None), ("ana", 2), ("bob", None)]
    room.put(room.own, entry("ana", 3))  # it has returned
    assert counts(room) == {"ana": 3, "bob": 2}
    room.drop("b")
    assert counts(room) == {"ana": 3}


def test_traces_tell_when_the_last_connection_was_removed() -> None:
    room, _ = table()
    assert room.gone_at("ana") == 0
    room.put(room.own, Entry("ana", "{}", 5.0, 1.0, 0))
    room.replace("b", Share([Entry("ana", "{}", 7.0, 1.0, 0)], 1))
    room.replace("c", Share([Entry("ana", "{}", 9.0, 1.0, 1)], 1))
    assert room.gone_at("ana") == 7.0
