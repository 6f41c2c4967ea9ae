"""Rates, and what is none."""

import pytest

from django_etp.conf.rates import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20/s", Rate(20, 1)),
        ("1/sec", Rate(1, 1)),
        ("100/min", Rate(100, 60)),
        ("5/hour", Rate(5, 3600)),
        ("1000/day", Rate(1000, 86400)),
    ],
)
def test_a_rate_is_written_as_in_the_rest_framework(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize("text", ["", "20", "20/", "0/s", "-1/s", "1.5/s", "20/week", "20/s ", "20 /s", 20, None])
def test_other_values_are_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match=r'such as "20/s" or "1000/day"; got'):
        Rate.parse(text)
