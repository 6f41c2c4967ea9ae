"""Some faults of `make chaos`, shorter."""

import pytest

from .chaos import break_it


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("layer", "fault"),
    [
        ("pubsub", "way_refused"),
        ("pubsub", "broker_drops_connections"),
        ("redis", "way_held"),
        ("redis", "server_frozen"),
    ],
)
def test_each_confirmed_event_arrives_or_is_reported(layer, fault):
    outcome = break_it(layer, fault, before=1, during=3, after=2)
    assert outcome.holds, outcome
    assert outcome.closed == []
    assert outcome.confirmed > 100, outcome
    assert outcome.deliveries > 6 * 100, outcome
