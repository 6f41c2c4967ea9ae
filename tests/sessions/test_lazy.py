"""Lazy objects are unwrapped, and nothing else is touched."""

from channels.auth import UserLazyObject
from django.utils.functional import SimpleLazyObject

from django_etp.sessions.lazy import unwrapped


def test_what_a_lazy_object_holds_is_returned() -> None:
    held: list[int] = []
    lazy = SimpleLazyObject(lambda: held)
    assert len(lazy) == 0  # which sets it up
    assert unwrapped(lazy) is held


def test_a_lazy_object_that_is_not_set_up_stays_so() -> None:
    def fail() -> None:
        raise AssertionError("it was set up")

    lazy = SimpleLazyObject(fail)
    assert unwrapped(lazy) is lazy


def test_the_lazy_user_of_channels_is_unwrapped() -> None:
    user, lazy = object(), UserLazyObject()
    lazy._wrapped = user
    assert unwrapped(lazy) is user


def test_other_values_are_returned_as_they_are() -> None:
    value = object()
    assert unwrapped(value) is value
    assert unwrapped(None) is None
