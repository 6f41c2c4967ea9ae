"""Contracts are values."""

from dataclasses import FrozenInstanceError

import pytest

from django_etp.contract.model import Contract, Handled, Payload, Room


def test_what_is_not_known_may_be_anything() -> None:
    assert Handled() == Handled(Payload(True, False), Payload(True, False), False, "")
    assert Room("lobby").state is True
    assert Room("lobby").info is None


def test_a_contract_does_not_change_under_those_who_compare_it() -> None:
    with pytest.raises(FrozenInstanceError):
        Contract("n").namespace = "m"  # type: ignore[misc]
    assert Contract("n").events is not Contract("n").events
