"""Sends to several rooms are delivered once."""

from django_etp.hub.emissions import REMEMBERED, Emissions


def test_a_send_is_first_once() -> None:
    emissions = Emissions()
    assert [emissions.is_first("a"), emissions.is_first("b"), emissions.is_first("a")] == [True, True, False]


def test_a_send_of_this_hub_is_not_delivered_again() -> None:
    emissions = Emissions()
    first, second = emissions.new(), emissions.new()
    assert first != second
    assert not emissions.is_first(first)


def test_the_oldest_sends_are_forgotten() -> None:
    emissions = Emissions()
    for number in range(REMEMBERED + 1):
        emissions.is_first(str(number))
    assert not emissions.is_first("1")
    assert emissions.is_first("0")


def test_a_long_name_is_cut():
    emissions = Emissions()
    assert emissions.is_first("x" * 1_000_000)
    assert not emissions.is_first("x" * 1_000_000)
    assert max(map(len, emissions._names)) == 64


def test_sends_of_a_batch_are_first_once_in_their_order() -> None:
    names = Emissions().new_batch()
    first, second, third = next(names), next(names), next(names)
    emissions = Emissions()
    assert [emissions.is_first(name) for name in (first, second, first, second, third, "x", third)] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
