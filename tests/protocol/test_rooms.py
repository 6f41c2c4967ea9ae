"""Declared rooms on the wire."""

import pytest

from django_etp.protocol import Event, decode
from django_etp.protocol.rooms import encode_left, in_room, read_in_room


@pytest.mark.parametrize("name", ["said", "said it", "", "a b c", "x|y"])
def test_an_event_inside_a_room_is_read_as_it_was_written(name: str) -> None:
    event = decode(in_room("orders/5", f"{name}||7||data"))
    assert read_in_room(event) == ("orders/5", Event(name, 7, "data"))


def test_outside_of_rooms_a_frame_stays_as_it_is() -> None:
    assert in_room(None, "said||0") == "said||0"


@pytest.mark.parametrize("name", ["", "said", "__in", "__in ", "__in x", "__in  said", "__inx y z", "__left x y"])
def test_other_events_are_in_no_room(name: str) -> None:
    assert read_in_room(Event(name)) is None


def test_the_end_of_a_membership_is_an_event() -> None:
    event = decode(encode_left("orders/5", "permission_denied", "No."))
    assert (event.name, event.ack_id) == ("__left", 0)
    assert event.json() == {"room": "orders/5", "code": "permission_denied", "message": "No."}
