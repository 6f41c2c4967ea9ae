"""Quote text that a peer has sent, for logs and terminals."""

__all__ = ["escape", "one_line"]

# Zero-width joiners: not printable to Python, but part of words and emoji, and harmless in a terminal.
_JOINERS = "\u200c\u200d"


def escape(text: str) -> str:
    r"""Return text with escapes such as ``\x1b`` for what is not printable: controls, line breaks, directions."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in _JOINERS else ascii(each)[1:-1] for each in text)


def one_line(text: str, limit: int = 200) -> str:
    """Return the first ``limit`` characters of escaped text, with an ellipsis if there are more."""
    line = escape(text[: limit + 1])
    return line if len(line) <= limit else f"{line[:limit]}…"
