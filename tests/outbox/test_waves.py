"""Which events a relay sends together."""

from datetime import UTC, datetime, timedelta

import pytest

from django_etp.outbox import waves
from django_etp.outbox.models import OutboxEvent
from django_etp.outbox.waves import Wave, Windows
from tests.support.outbox import row

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)


def wave(*rows: OutboxEvent, windows: Windows | None = None) -> Wave:
    chosen = Wave(NOW, windows or Windows())
    chosen.add(rows)
    return chosen


def names(chosen: Wave) -> list[str]:
    return [event.event for event in chosen.events]


def test_events_go_in_their_order() -> None:
    chosen = wave(row("1", "a"), row("2", "b"), row("3", "a", sender="t"))
    assert names(chosen) == ["1", "2", "3"]
    assert not chosen.has_more
    assert chosen.counts == {("default", "a"): 2, ("default", "b"): 1}


def test_an_event_to_several_rooms_goes_without_others_to_them() -> None:
    chosen = wave(row("1", "a"), row("2", "b", "c"), row("3", "c"), row("4", "a"), row("5", "d"))
    assert names(chosen) == ["1", "2", "4", "5"]
    assert chosen.has_more
    chosen = wave(row("1", "a"), row("2", "a", "b"), row("3", "b"), row("4", "a"), row("5", "c"))
    assert names(chosen) == ["1", "5"]


def test_a_room_of_another_namespace_is_another_room() -> None:
    assert names(wave(row("1", "a", "b"), row("2", "a", namespace="other"))) == ["1", "2"]


def test_later_events_of_a_sender_wait_behind_one_that_failed() -> None:
    failed = row("1", "a", attempts=1, retry_at=LATER)
    chosen = wave(failed, row("2", "a"), row("3", "a", sender="t"), row("4", "b"), row("5", "a", "c"), row("6", "c"))
    assert names(chosen) == ["3", "4"]
    assert chosen.waiting == {("s", row("", "a").rooms), ("s", row("", "a", "c").rooms), ("s", row("", "c").rooms)}
    assert chosen.retry_at == LATER
    assert not chosen.has_more


def test_a_failed_event_that_is_due_goes_alone_to_its_room() -> None:
    chosen = wave(row("1", "a", attempts=1, retry_at=NOW), row("2", "a", sender="t"), row("3", "b"))
    assert names(chosen) == ["1", "3"]
    assert chosen.has_more


def test_what_goes_to_a_room_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "_ROOM_EVENTS", 2)
    assert names(wave(*[row(str(number), "a") for number in range(5)], row("b", "b"))) == ["0", "1", "b"]
    monkeypatch.setattr(waves, "_ROOM_EVENTS", 100)
    monkeypatch.setattr(waves, "_ROOM_BYTES", 1000)
    assert names(wave(row("0", "a", data="x" * 5000), row("1", "a"))) == ["0"]
    assert names(wave(row("0", "a"), row("1", "a", data="x" * 5000), row("2", "a"))) == ["0"]


def test_a_wave_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waves, "_WAVE_EVENTS", 3)
    chosen = wave(*[row(str(number), str(number)) for number in range(5)])
    assert (names(chosen), chosen.is_full, chosen.has_more) == (["0", "1", "2"], True, True)
    monkeypatch.setattr(waves, "_WAVE_BYTES", 100)
    assert names(wave(*[row(str(number), str(number), data="x" * 60) for number in range(5)])) == ["0", "1"]


def test_fewer_events_go_to_a_room_that_refused_some_until_all_are_taken() -> None:
    windows, place = Windows(), ("default", "a")
    rows = [row(str(number), "a") for number in range(100)]
    windows.shrink(place, 100)
    assert len(wave(*rows, windows=windows).events) == 12
    windows.shrink(place, 12)
    assert len(wave(*rows, windows=windows).events) == 1
    windows.shrink(place, 1)
    assert len(wave(*rows, windows=windows).events) == 1
    for _ in range(10):
        windows.grow(place)
    assert len(wave(*rows, windows=windows).events) == 100


def test_the_bounds_fit_into_a_message_of_the_layer() -> None:
    assert waves._ROOM_EVENTS <= 500
    assert 2 * waves._ROOM_BYTES <= 256 * 1024
