"""How malformed messages quote what they hold."""

from typing import Any

import pytest

from django_etp.cluster.malformed import shorten


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


class Unprintable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "value",
    [nested(3000), "x" * 1_000_000, 10**5000, [10**5000], {"x": Unprintable()}, [[1] * 1000] * 1000],
    ids=["deep", "long", "large", "large inside", "without a repr", "wide"],
)
def test_no_value_is_too_large_or_too_deep_to_be_quoted(value: Any) -> None:
    assert 0 < len(shorten(value)) <= 80


def test_a_small_value_is_quoted_whole() -> None:
    assert shorten({"a": [1, "b"]}) == "{'a': [1, 'b']}"
