"""Warnings of a plain emit inside a transaction."""

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from django.db.transaction import atomic
from django.test import TestCase, TransactionTestCase, override_settings

from django_etp import EmitInTransaction, rooms


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def emit() -> None:
    rooms.emit("lobby", "news")


@pytest.mark.django_db(transaction=True)
def test_an_emit_in_a_transaction_warns_once_per_place_and_names_the_other_call(settings: Any, caught: list[Any]):
    settings.DEBUG = True
    with atomic():
        for _ in range(3):
            emit()
        with atomic():
            rooms.of("game").emit(["a", "b"], "news")
    first, second = caught
    assert first.category is second.category is EmitInTransaction
    assert "rooms.emit_on_commit()" in str(first.message)
    assert first.filename == second.filename == __file__
    assert first.lineno == emit.__code__.co_firstlineno + 1
    assert second.lineno > first.lineno


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_and_without_debug_there_is_no_warning(settings: Any, caught: list[Any]):
    with atomic():
        emit()
    settings.DEBUG = True
    emit()
    with atomic():
        rooms.emit_on_commit("lobby", "news")
        rooms.broadcast("news")
    assert caught == []


@pytest.mark.django_db(transaction=True)
def test_other_filters_apply(settings: Any):
    settings.DEBUG = True
    with warnings.catch_warnings(), atomic():
        warnings.simplefilter("ignore", EmitInTransaction)
        emit()
    with pytest.raises(EmitInTransaction), atomic():
        emit()


@override_settings(DEBUG=True)
class InTestCase(TestCase):
    def test_the_transaction_of_the_test_does_not_count(self) -> None:
        rooms.emit("lobby", "news")

    def test_that_of_the_code_under_test_does(self) -> None:
        with self.assertWarns(EmitInTransaction), atomic():
            rooms.emit("lobby", "news")


@override_settings(DEBUG=True)
class InTransactionTestCase(TransactionTestCase):
    def test_a_transaction_counts(self) -> None:
        rooms.emit("lobby", "news")
        with self.assertWarns(EmitInTransaction), atomic():
            rooms.emit("lobby", "news")
