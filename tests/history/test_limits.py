"""How much a room keeps."""

import sys
from typing import Any

import pytest

from django_etp import History


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert History() == History(size=100, seconds=300)


@pytest.mark.parametrize("size", [0, -1, 1.5, "5", None, True, 100_001])
def test_a_size_is_a_number_of_events(size: Any) -> None:
    with pytest.raises(ValueError, match=r"size=.*from 1 to 100,000, got"):
        History(size=size)


@pytest.mark.parametrize(
    "seconds", [0, -1, 1_000_000_000_001, sys.maxsize, "5", None, True, float("inf"), float("nan")]
)
def test_the_time_is_a_number_of_seconds(seconds: Any) -> None:
    with pytest.raises(ValueError, match=r"seconds=.*above 0, up to 1,000,000,000,000, got"):
        History(seconds=seconds)


def test_the_largest_are_allowed() -> None:
    assert History(size=100_000, seconds=0.5).size == 100_000
    assert History(seconds=1e12).seconds == 1e12
