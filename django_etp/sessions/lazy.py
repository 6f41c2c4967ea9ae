"""What Channels and Django wrap in lazy objects, each look through which takes a microsecond."""

from typing import Any

from django.utils.functional import LazyObject, empty

__all__ = ["unwrapped"]


def unwrapped(value: Any) -> Any:
    """Return what a lazy object holds; anything else, and one that holds nothing yet, as it is."""
    if isinstance(value, LazyObject):
        held = value._wrapped
        return value if held is empty else held
    return value
