"""Old events in a database are removed without a job that does it."""

import time
from typing import Any

import pytest

from django_etp import History
from django_etp.history import DatabaseHistory, pruning
from django_etp.history.models import HistoryDurableEvent, HistoryEvent, HistoryRoom
from django_etp.history.pruning import Pruning
from django_etp.history.store import KEEP_SECONDS, REMEMBERED
from tests.support.histories import new_events

pytestmark = pytest.mark.django_db

DAY = KEEP_SECONDS * 1000


def append(room: str, count: int = 1, limits: History = History(size=10, seconds=60), **options: Any) -> None:  # noqa: B008
    store = DatabaseHistory()
    store._pruning._due_at = float("inf")
    store._append(new_events(room, map(str, range(count)), limits, **options))


def now() -> int:
    return round(time.time() * 1000)


def prune(after: int) -> None:
    """Remove what will be too old after a time, in milliseconds."""
    Pruning("default").prune(now() + after)


def events() -> dict[str, int]:
    rooms = HistoryRoom.objects.order_by("name")
    return {room.name: HistoryEvent.objects.filter(room=room).count() for room in rooms}


def test_a_room_keeps_its_size_and_at_most_200_more() -> None:
    append("a", 500)
    for _ in range(123):
        append("a")
        assert 10 <= events()["a"] <= 210
    assert HistoryRoom.objects.get().number == 623


def test_events_that_are_too_old_are_removed_by_those_who_append() -> None:
    append("a", 49)
    HistoryEvent.objects.update(at=now() - 61_000)
    append("a", 1, History(size=1000, seconds=60))
    assert events() == {"a": 1}


def test_a_silent_room_loses_its_events_and_a_day_later_itself() -> None:
    append("a", emission="~1")
    append("b")
    HistoryRoom.objects.filter(name="b").update(at=now() + 600_000)
    prune(30_000)
    assert events() == {"a": 1, "b": 1}
    prune(61_500)
    assert events() == {"a": 0, "b": 1}
    prune(900_000)
    prune(DAY)
    assert events() == {"a": 0, "b": 0}
    assert HistoryDurableEvent.objects.count() == 1
    prune(DAY + 70_000)
    assert events() == {"b": 0}
    prune(DAY + 900_000)
    assert events() == {}
    assert not HistoryDurableEvent.objects.exists()


def test_a_room_that_is_used_again_is_kept() -> None:
    append("a")
    prune(62_000)
    assert events() == {"a": 0}
    append("a", 2)
    HistoryRoom.objects.update(at=now() + DAY)
    prune(DAY + 30_000)
    assert events() == {"a": 2}
    prune(DAY + 61_000)
    assert events() == {"a": 0}
    assert HistoryRoom.objects.get().number == 3


def test_a_room_of_which_only_the_position_was_read_goes_after_a_day() -> None:
    DatabaseHistory()._open("a")
    prune(DAY // 2)
    assert events() == {"a": 0}
    prune(DAY + 10_000)
    prune(DAY + 20_000)
    assert events() == {}


def test_it_looks_once_a_minute_and_goes_on_if_there_is_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "_ROOMS_AT_ONCE", 2)
    for room in "abc":
        append(room)
    each = Pruning("default")
    for left in (1, 0):
        each.prune(now() + 61_000)
        assert sum(events().values()) == left
    append("d")
    each.prune(now() + 200_000)
    assert sum(events().values()) == 1


def test_appending_prunes_other_rooms() -> None:
    append("a")
    HistoryRoom.objects.update(at=now() - 100_000, prune_at=now() - 1)
    DatabaseHistory()._append(new_events("b", ["x"]))
    assert events() == {"a": 0, "b": 1}


def test_the_names_of_durable_events_are_bounded() -> None:
    append("a", emission="~1")
    append("a", REMEMBERED + 50)
    append("a", 50)
    assert not HistoryDurableEvent.objects.exists()
