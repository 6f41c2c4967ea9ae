"""Past events on the wire."""

import json
from datetime import UTC, datetime

from django_etp.protocol.past import PastEvent


def test_a_past_event_is_read_as_it_was_written() -> None:
    past = PastEvent("e.7", "changed", '{"a":1}', datetime(2026, 5, 17, 12, 30, 1, 250_000, UTC))
    assert PastEvent.from_plain(json.loads(json.dumps(past.to_plain()))) == past
    assert past.json() == {"a": 1}
