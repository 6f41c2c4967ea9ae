"""Connections in declared rooms, as their hub keeps them."""

from types import SimpleNamespace
from typing import Any

from django_etp.hub.guests import Guests


def guest(id: str, room: str, ended: list[str] | None = None) -> Any:
    end = (lambda: ended.append(room)) if ended is not None else None
    return SimpleNamespace(id=id, key=("n", room), end=end, is_waiting=True)


def test_nothing_is_kept_of_guests_that_are_removed() -> None:
    guests = Guests()
    first, second = guest("a", "x"), guest("a", "y")
    for each in (first, second):
        guests.add(each)
    guests.wait(first)
    guests.enter(first)
    guests.wait(second)
    assert guests.all() == guests.of("a") == [first, second]
    for each in (first, second):
        guests.remove(each)
    assert (guests.by_room, guests.all(), guests.of("a"), guests.get("a", "x")) == ({}, [], [], None)


def test_a_guest_that_was_replaced_removes_nothing() -> None:
    guests = Guests()
    first, second = guest("a", "x"), guest("a", "x")
    guests.add(first)
    guests.remove(first)
    guests.add(second)
    guests.enter(second)
    guests.remove(first)
    assert guests.get("a", "x") is second
    assert guests.room_of(SimpleNamespace(id="a", namespace="n"), ["z", "x"]) == "x"  # type: ignore[arg-type]


def test_only_those_inside_are_in_a_room() -> None:
    guests = Guests()
    waiting = guest("a", "x")
    guests.add(waiting)
    guests.wait(waiting)
    member: Any = SimpleNamespace(id="a", namespace="n")
    assert guests.room_of(member, ["x"]) is None
    guests.enter(waiting)
    assert guests.room_of(member, ["x"]) == "x"
    guests.wait(waiting)  # a second join
    assert guests.room_of(member, ["x"]) == "x"


def test_the_end_of_a_connection_in_rooms_ends_its_guests_there() -> None:
    guests, ended = Guests(), []  # type: Guests, list[str]
    for room in "xy":
        guests.add(guest("a", room, ended))
    guests.end("a", ["x", "z"])
    guests.end("b", ["y"])
    assert ended == ["x"]
