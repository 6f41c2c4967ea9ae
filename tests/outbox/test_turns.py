"""One relay at a time sends the events of a database. With row locks, see test_relay.py."""

from datetime import timedelta

import pytest
from django.utils import timezone

from django_etp.outbox import turns
from django_etp.outbox.models import RelayTurn
from django_etp.outbox.turns import Turn

pytestmark = pytest.mark.django_db


def take(turn: Turn) -> bool:
    with turn.take() as is_mine:
        return is_mine


def test_a_turn_lasts_while_it_is_prolonged(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = Turn("default"), Turn("default")
    monkeypatch.setattr(turns, "_PROLONG_AFTER", 0.0)
    for _ in range(3):
        assert take(one)
        assert not take(other)
    assert RelayTurn.objects.get().holder == one.name


def test_another_relay_takes_over_once_the_turn_is_over() -> None:
    one, other = Turn("default"), Turn("default")
    assert take(one)
    RelayTurn.objects.update(ends_at=timezone.now() - timedelta(seconds=1))
    assert take(other)
    one._prolong_at = 0.0
    assert not take(one)


def test_another_relay_takes_over_at_once_after_an_orderly_end() -> None:
    one, other = Turn("default"), Turn("default")
    assert take(one)
    other.end()
    assert not take(other)
    one.end()
    assert take(other)


def test_a_turn_is_prolonged_long_before_it_ends() -> None:
    assert turns._PROLONG_AFTER * 2 <= turns._LENGTH.total_seconds() <= 3


def test_the_table_may_have_been_emptied_meanwhile() -> None:
    one = Turn("default")
    assert take(one)
    RelayTurn.objects.all().delete()
    one._prolong_at = 0.0
    assert take(one)


def test_a_relay_knows_the_processes_that_the_relay_before_it_knew() -> None:
    one, other = Turn("default"), Turn("default")
    assert take(one)
    one.record_hubs(frozenset(["a", "b"]))
    one.end()
    assert take(other)
    assert other.hubs == {"a", "b"}
    one.record_hubs(frozenset())  # its turn is over
    other.record_hubs(frozenset(["b"]))
    other.end()
    assert take(one)
    assert one.hubs == {"b"}
