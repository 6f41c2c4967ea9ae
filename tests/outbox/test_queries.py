"""The query for missed events on its way. What hubs reply is in test_sending.py."""

from django_etp.hub.queries import read_query
from django_etp.outbox.queries import FindMissed


def test_it_comes_back_from_the_wire_as_it_was() -> None:
    query = FindMissed("", ("a", "b"), ("~1", "~2"))
    assert read_query(FindMissed.action, query.to_plain()) == query


def test_what_one_hub_has_missed_counts() -> None:
    assert FindMissed("", (), ()).merge([[], ["~1"], ["~2", "~1"], None]) == {"~1", "~2"}
