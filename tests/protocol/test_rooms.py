"""Declared rooms on the wire."""

import pytest

from django_etp.protocol import Event, decode
from django_etp.protocol.rooms import encode_left, in_room, is_later, read_in_room, split_position, without_position


@pytest.mark.parametrize("name", ["said", "said it", "", "a b c", "x|y"])
def test_an_event_inside_a_room_is_read_as_it_was_written(name: str) -> None:
    event = decode(in_room("orders/5", f"{name}||7||data"))
    assert read_in_room(event) == ("orders/5", Event(name, 7, "data"))


def test_outside_of_rooms_a_frame_stays_as_it_is() -> None:
    assert in_room(None, "said||0") == "said||0"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("orders/5@e.7", ("orders/5", "e.7")),
        ("a@b@e.7", ("a@b", "e.7")),
        ("orders/5", ("orders/5", "")),
        ("users/a@b.c", ("users/a@b.c", "")),
        ("@e.7", ("@e.7", "")),
    ],
)
def test_the_last_at_sign_separates_a_position(name: str, parts: tuple[str, str]) -> None:
    assert split_position(name) == parts


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("__in orders/5@e.7 it changed", "__in orders/5 it changed"),
        ("__in orders/5 changed", "__in orders/5 changed"),
        ("__in orders/5@e.7", "__in orders/5@e.7"),
        ("said orders/5@e.7 x", "said orders/5@e.7 x"),
        ("", ""),
    ],
)
def test_an_event_has_a_name_without_its_position(name: str, plain: str) -> None:
    assert without_position(name) == plain


@pytest.mark.parametrize(
    ("position", "than", "later"),
    [
        ("e.7", "e.6", True),
        ("e.10", "e.9", True),
        ("e.7", "e.7", False),
        ("e.7", "e.8", False),
        ("f.1", "e.8", True),
        ("e.7", None, True),
        ("e.7", "", True),
        (".7", "elsewhere", True),
    ],
)
def test_positions_of_an_epoch_are_in_the_order_of_their_numbers(position: str, than: str | None, later: bool) -> None:
    assert is_later(position, than) is later


@pytest.mark.parametrize("name", ["", "said", "__in", "__in ", "__in x", "__in  said", "__inx y z", "__left x y"])
def test_other_events_are_in_no_room(name: str) -> None:
    assert read_in_room(Event(name)) is None


def test_the_end_of_a_membership_is_an_event() -> None:
    event = decode(encode_left("orders/5", "permission_denied", "No."))
    assert (event.name, event.ack_id) == ("__left", 0)
    assert event.json() == {"room": "orders/5", "code": "permission_denied", "message": "No."}
