"""Unwrap the lazy objects of Django and Channels: each attribute read through one costs a microsecond."""

from typing import Any

from django.utils.functional import LazyObject, empty

__all__ = ["unwrapped"]


def unwrapped(value: Any) -> Any:
    """Return the object inside a lazy object; return any other value, and a lazy object not set up yet, unchanged."""
    if isinstance(value, LazyObject):
        held = value._wrapped
        return value if held is empty else held
    return value
