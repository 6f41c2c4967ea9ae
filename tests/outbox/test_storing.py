"""Durable events are stored in the transaction that emits them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_etp.outbox.models import OutboxEvent
from tests.support.outbox import keep, stored

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kept")]


@contextmanager
def undone() -> Iterator[None]:
    """Roll back what the block does."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_an_event_is_committed_with_its_transaction(kept: list[str]) -> None:
    with transaction.atomic():
        keep("saved", data="1")
        assert kept == []
    with undone():
        keep("undone")
    assert stored() == ["saved"]
    assert kept == ["default"]


def test_outside_of_a_transaction_an_event_is_committed_at_once(kept: list[str]) -> None:
    keep("one", key="k")
    keep("two", key="k")
    keep("two", key="k")
    assert stored() == ["one", "two", "two"]
    assert kept == ["default"] * 3


def test_what_a_database_might_refuse_is_stored() -> None:
    with transaction.atomic():
        keep("news", "a\0b", "ä", data="\0 ☃", exclude=("c\0",))
    row = OutboxEvent.objects.get()
    assert (row.room_names, bytes(row.payload).decode(), row.exclude) == (["a\0b", "ä"], "\0 ☃", '["c\\u0000"]')
    row.rooms.encode("ascii")


def test_events_of_one_thread_have_one_sender() -> None:
    for event in ("one", "two"):
        keep(event)
    assert OutboxEvent.objects.values_list("sender", flat=True).distinct().count() == 1


class TestKeys:
    def test_the_last_event_with_a_key_wins_in_its_own_place(self) -> None:
        with transaction.atomic():
            for number in range(3):
                keep("changed", data=str(number), key="7")
                keep(f"other{number}")
        assert stored() == ["other0", "other1", "changed", "other2"]
        assert bytes(OutboxEvent.objects.get(event="changed").payload) == b"2"

    def test_another_key_room_event_or_transaction_is_left_alone(self) -> None:
        with transaction.atomic():
            keep("changed", key="7")
        with transaction.atomic():
            keep("changed", key="7")
            keep("changed", key="8")
            keep("changed", "game", key="7")
            keep("removed", key="7")
            keep("changed")
        assert stored() == ["changed"] * 4 + ["removed", "changed"]

    def test_an_earlier_event_comes_back_if_its_successor_is_rolled_back(self) -> None:
        with transaction.atomic():
            keep("changed", data="1", key="7")
            with undone():
                keep("changed", data="2", key="7")
            keep("more")
        assert stored() == ["changed", "more"]

    def test_what_a_savepoint_brought_back_is_replaced_later(self) -> None:
        with transaction.atomic():
            for number in range(3):
                with undone():
                    keep("changed", data="undone", key="7")
                with transaction.atomic():
                    keep("changed", data=str(number), key="7")
        assert [bytes(row.payload) for row in OutboxEvent.objects.all()] == [b"2"]

    def test_a_transaction_after_one_that_was_rolled_back_is_another_one(self) -> None:
        with undone():
            keep("changed", key="7")
        with transaction.atomic():
            keep("changed", key="7")
            with undone():
                keep("changed", key="7")
        assert stored() == ["changed"]

    def test_500_events_with_one_key_take_two_queries_each(self) -> None:
        with transaction.atomic(), CaptureQueriesContext(connection) as queries:
            for number in range(500):
                keep("changed", data=str(number), key="7")
        assert stored() == ["changed"]
        assert len(queries) <= 2 * 500


def test_a_callback_that_django_runs_in_a_test_counts_as_a_commit(
    kept: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    with transaction.atomic():
        with django_capture_on_commit_callbacks(execute=True):
            keep("changed", key="7")
        assert kept == ["default"]
        with django_capture_on_commit_callbacks(execute=True):
            keep("changed", key="7")
        assert kept == ["default"] * 2
    assert stored() == ["changed"] * 2
