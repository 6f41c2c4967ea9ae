"""The error for a message that does not have the form that nodes send, and how it quotes values."""

import reprlib

__all__ = ["Malformed", "shorten"]


class Malformed(ValueError):
    """A message on the channel layer does not have the form that nodes send."""


def shorten(value: object) -> str:
    """Return the start of a value's repr; the value may be huge, or nested deeply."""
    try:
        return reprlib.repr(value)[:80]
    except Exception:  # such as an int of more digits than Python converts
        return type(value).__name__
