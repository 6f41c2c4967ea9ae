"""Rates such as ``"20/s"``, in the notation of Django REST framework."""

import re
from dataclasses import dataclass
from typing import Self

__all__ = ["Rate"]

_NOTATION = re.compile(r"([1-9][0-9]{0,8})/(s|m|h|d)[a-z]*")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many events within so many seconds."""

    events: int
    seconds: int

    @classmethod
    def parse(cls, text: object) -> Self:
        """Return the rate that a text such as ``"20/s"``, ``"100/min"`` or ``"1000/day"`` stands for.

        Raises:
            ValueError: it is no such text.
        """
        match = _NOTATION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                f"A rate must be a number of events above 0, a slash, and a period that begins with s, m, h or d, "
                f'such as "20/s" or "1000/day"; got {text!r:.80}.'
            )
        return cls(int(match[1]), _SECONDS[match[2]])
