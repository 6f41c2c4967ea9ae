"""The frames of streamed answers."""

import pytest

from django_etp.exceptions import InvalidPayload
from django_etp.protocol.endpoint import meaning_of
from django_etp.protocol.frames import Event, decode
from django_etp.protocol.streams import encode_part, encode_stop


def test_frames_of_parts_and_stops() -> None:
    assert encode_part(Event("ask", 7, "what?"), "a||b") == "__part_ask||7||a||b"
    assert encode_part(Event("ask", 7), "") == "__part_ask||7"
    assert encode_stop("ask", 7) == "__stop_ask||7"
    with pytest.raises(InvalidPayload):
        encode_part(Event("ask", 7), "\ud800")


@pytest.mark.parametrize(("frame", "meaning"), [("__part_ask||7||a", "part"), ("__stop_ask||7", "stop")])
def test_they_have_a_meaning_between_peers_that_speak_the_extensions(frame: str, meaning: str) -> None:
    assert meaning_of(decode(frame), speaks_extensions=True) == meaning
    assert meaning_of(decode(frame), speaks_extensions=False) == "event"
