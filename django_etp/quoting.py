"""Quote text that a peer has sent, for logs and terminals."""

import logging
import re
import traceback
from collections.abc import Iterator

__all__ = ["escape", "line_of", "one_line", "quote_traceback"]

# Zero-width joiners: not printable to Python, but part of words and emoji, and harmless in a terminal.
_JOINERS = "\u200c\u200d"
# In characters.
_ERROR_LIMIT = 1000
# A line that begins with text of a peer must not look like the beginning of a log entry.
_INDENTED = re.compile(r"\n(?= )")


def escape(text: str) -> str:
    r"""Return text with escapes such as ``\x1b`` for what is not printable: controls, line breaks, directions."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in _JOINERS else ascii(each)[1:-1] for each in text)


def one_line(text: str, limit: int = 200) -> str:
    """Return the first ``limit`` characters of escaped text, with an ellipsis if there are more."""
    line = escape(text[: limit + 1])
    return line if len(line) <= limit else f"{line[:limit]}…"


def line_of(error: BaseException, limit: int = _ERROR_LIMIT) -> str:
    """Return the text of an error as one line, also if its ``__str__`` raises."""
    try:
        return one_line(str(error), limit)
    except Exception:
        return "(its text cannot be read)"


def quote_traceback(record: logging.LogRecord) -> bool:
    """Quote the texts of errors in a traceback, which may hold data of a peer; a filter for loggers.

    The exception itself stays in the record, for handlers that send it elsewhere.
    """
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = "\n".join(_quoted(traceback.format_exception(*record.exc_info)))
    return True


def _quoted(parts: list[str]) -> Iterator[str]:
    follows_text = False
    for part in parts:
        text = part.removesuffix("\n")
        if text.startswith("\n"):  # between two errors of a chain
            yield text
            follows_text = False
        elif text.startswith(("Traceback ", "  ")):  # the heading, a call and its line of code, or a part of a group
            yield from (one_line(line, _ERROR_LIMIT) for line in _INDENTED.split(text))
        else:  # the class and the text of an error, or a note about it
            yield ("  " if follows_text else "") + one_line(text, _ERROR_LIMIT)
            follows_text = True
