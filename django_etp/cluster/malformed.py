"""The error for a message that does not have the form that nodes send, and how it quotes values."""

import reprlib

__all__ = ["Malformed", "check_text", "shorten"]


class Malformed(ValueError):
    """A message on the channel layer does not have the form that nodes send."""


def check_text(text: str) -> None:
    """Raise ``Malformed`` for a frame that is not valid Unicode."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed("a frame must be valid Unicode, and this one has a lone surrogate") from None


def shorten(value: object) -> str:
    """Return the start of a value's repr; the value may be huge, or nested deeply."""
    try:
        return reprlib.repr(value)[:80]
    except Exception:  # such as an int of more digits than Python converts
        return type(value).__name__
